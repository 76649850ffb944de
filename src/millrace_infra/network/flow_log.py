"""What passed and what was refused, written to our log group."""

from __future__ import annotations

from millrace_infra.observability.logs import Logs
from millrace_infra.policy import Role, Statement, trust
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, FlowLog, Vpc


class FlowLogs(Construct):
    """The VPC's flow log, with the role that writes it."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, vpc: Vpc, logs: Logs) -> None:
        super().__init__(scope, id)
        group = logs.group("flow")
        account_id, region = environment.settings.account_id, environment.region
        role = Role(
            self,
            "writer",
            names=environment.names,
            name="flow-log",
            trust_policy=trust("vpc-flow-logs.amazonaws.com", account_id=account_id),
        )
        role.allow(
            "logs",
            Statement(
                ("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"),
                (group.arn, f"{group.arn}:*"),
            ),
            # the service looks for the group by listing groups
            Statement(("logs:DescribeLogGroups",), (f"arn:aws:logs:{region}:{account_id}:log-group:*",)),
        )
        FlowLog(
            self,
            "log",
            vpc_id=vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            # Ten minutes in one record instead of ten records: logs are billed by the byte, and nothing that
            # decides within minutes reads them.
            max_aggregation_interval=600,
            tags={"Name": environment.names.of("flow")},
            depends_on=role.policies,
        )
