"""Blue-green: CodeDeploy starts the next version beside the one that serves, moves traffic, and may move it back.

`deploy` starts a deployment with the newest revision; nothing here does. The version before stays up for a
while: going back is a change of the listener, not a start of tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from millrace.errors import SettingError
from millrace.names import SERVICE_API, SERVICE_DASHBOARD
from millrace_infra.entry import Entry
from millrace_infra.policy import Condition, Role, Statement, trust
from millrace_infra.services import ApiService, Cluster, DashboardService
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    CodedeployApp,
    CodedeployDeploymentGroup,
    CodedeployDeploymentGroupAlarmConfiguration,
    CodedeployDeploymentGroupAutoRollbackConfiguration,
    CodedeployDeploymentGroupBlueGreenDeploymentConfig,
    CodedeployDeploymentGroupBlueGreenDeploymentConfigDeploymentReadyOption,
    CodedeployDeploymentGroupBlueGreenDeploymentConfigTerminateBlueInstancesOnDeploymentSuccess,
    CodedeployDeploymentGroupDeploymentStyle,
    CodedeployDeploymentGroupEcsService,
    CodedeployDeploymentGroupLoadBalancerInfo,
    CodedeployDeploymentGroupLoadBalancerInfoTargetGroupPairInfo,
    CodedeployDeploymentGroupLoadBalancerInfoTargetGroupPairInfoProdTrafficRoute,
    CodedeployDeploymentGroupLoadBalancerInfoTargetGroupPairInfoTargetGroup,
    CodedeployDeploymentGroupLoadBalancerInfoTargetGroupPairInfoTestTrafficRoute,
    Construct,
)

ALARMS_MAX: Final = 10
"""Alarms of one deployment group. Source: CodeDeploy quotas."""
BACK_ON: Final = ("DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST")


@dataclass(frozen=True)
class Shift:
    """How a service's traffic moves."""

    service: str
    configuration: str
    kept_warm_min: int
    """How long the version before stays up after all traffic has moved."""


SHIFTS: Final = (
    # a tenth of the calls for five minutes: alarms of a minute's period see a bad version three times
    Shift(SERVICE_API, "CodeDeployDefault.ECSCanary10Percent5Minutes", kept_warm_min=60),
    # a session belongs to one version, so all move at once, and those that are open end with the old tasks
    Shift(SERVICE_DASHBOARD, "CodeDeployDefault.ECSAllAtOnce", kept_warm_min=60),
)


class BlueGreen(Construct):
    """`alarm_names`: by service, what stops a deployment and takes it back."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        cluster: Cluster,
        entry: Entry,
        api: ApiService,
        dashboard: DashboardService,
        alarm_names: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__(scope, id)
        self._environment, self._cluster, self._entry = environment, cluster, entry
        self._services: dict[str, ApiService | DashboardService] = {
            SERVICE_API: api,
            SERVICE_DASHBOARD: dashboard,
        }
        name = environment.names.of("deployment")
        self._app = CodedeployApp(self, "app", name=name, compute_platform="ECS", tags={"Name": name})
        self.role = self._role()
        self._groups = {
            shift.service: self._group(shift, _bounded(shift.service, alarm_names.get(shift.service, ())))
            for shift in SHIFTS
        }

    @property
    def app_name(self) -> str:
        return self._app.name

    def group_name(self, service: str) -> str:
        return self._groups[service].deployment_group_name

    # --- what CodeDeploy may do ---------------------------------------------------------------------

    def _role(self) -> Role:
        environment = self._environment
        role = Role(
            self,
            "role",
            names=environment.names,
            name="deployment",
            trust_policy=trust("codedeploy.amazonaws.com", account_id=environment.settings.account_id),
        )
        role.allow("services", *self._move_tasks())
        role.allow("traffic", *self._move_traffic())
        role.allow("roles", self._hand_over_roles())
        return role

    def _move_tasks(self) -> list[Statement]:
        names = [self._environment.names.of(service) for service in self._services]
        cluster = self._cluster.static_name
        ours: Condition = {"ArnEquals": {"ecs:cluster": self._ecs_arn(f"cluster/{cluster}")}}
        return [
            Statement(
                ("ecs:DescribeServices", "ecs:UpdateServicePrimaryTaskSet"),
                [self._ecs_arn(f"service/{cluster}/{name}") for name in names],
            ),
            Statement(
                ("ecs:DeleteTaskSet",), [self._ecs_arn(f"task-set/{cluster}/{name}/*") for name in names]
            ),
            Statement(
                ("ecs:CreateTaskSet",),
                ("*",),
                ours,
                reason="a task set that is yet to be made has no name; its cluster is named instead",
            ),
        ]

    def _move_traffic(self) -> list[Statement]:
        listeners = [self._entry.listener_arn, self._entry.test_listener_arn]
        rules = [rule.arn for service in self._services for rule in self._entry.rules(service)]
        return [
            Statement(
                (
                    "cloudwatch:DescribeAlarms",
                    "elasticloadbalancing:DescribeListeners",
                    "elasticloadbalancing:DescribeRules",
                    "elasticloadbalancing:DescribeTargetGroups",
                ),
                ("*",),
                reason="these lists know no resource",
            ),
            Statement(("elasticloadbalancing:ModifyListener",), listeners),
            Statement(("elasticloadbalancing:ModifyRule",), rules),
        ]

    def _hand_over_roles(self) -> Statement:
        """A task set runs with the roles of its definition: those, and to ECS tasks only."""
        roles = [role.arn for one in self._services.values() for role in (one.task_role, one.execution_role)]
        return Statement(
            ("iam:PassRole",), roles, {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
        )

    def _ecs_arn(self, resource: str) -> str:
        settings = self._environment.settings
        return f"arn:aws:ecs:{settings.region}:{settings.account_id}:{resource}"

    # --- how it does it -----------------------------------------------------------------------------

    def _group(self, shift: Shift, alarms: list[str]) -> CodedeployDeploymentGroup:
        name = self._environment.names.of(f"{shift.service}-deployment")
        return CodedeployDeploymentGroup(
            self,
            shift.service,
            app_name=self._app.name,
            deployment_group_name=name,
            deployment_config_name=shift.configuration,
            service_role_arn=self.role.arn,
            deployment_style=CodedeployDeploymentGroupDeploymentStyle(
                deployment_type="BLUE_GREEN", deployment_option="WITH_TRAFFIC_CONTROL"
            ),
            ecs_service=CodedeployDeploymentGroupEcsService(
                cluster_name=self._cluster.name, service_name=self._services[shift.service].service_name
            ),
            load_balancer_info=self._routes(shift.service),
            blue_green_deployment_config=_hand_over(shift.kept_warm_min),
            auto_rollback_configuration=CodedeployDeploymentGroupAutoRollbackConfiguration(
                enabled=True, events=list(BACK_ON)
            ),
            alarm_configuration=_watched(alarms),
            tags={"Name": name},
            depends_on=self.role.policies,
        )

    def _routes(self, service: str) -> CodedeployDeploymentGroupLoadBalancerInfo:
        colours = [
            CodedeployDeploymentGroupLoadBalancerInfoTargetGroupPairInfoTargetGroup(name=group.name)
            for group in self._entry.target_groups[service]
        ]
        pair = CodedeployDeploymentGroupLoadBalancerInfoTargetGroupPairInfo(
            prod_traffic_route=CodedeployDeploymentGroupLoadBalancerInfoTargetGroupPairInfoProdTrafficRoute(
                listener_arns=[self._entry.listener_arn]
            ),
            test_traffic_route=CodedeployDeploymentGroupLoadBalancerInfoTargetGroupPairInfoTestTrafficRoute(
                listener_arns=[self._entry.test_listener_arn]
            ),
            target_group=colours,
        )
        return CodedeployDeploymentGroupLoadBalancerInfo(target_group_pair_info=pair)


def _hand_over(kept_warm_min: int) -> CodedeployDeploymentGroupBlueGreenDeploymentConfig:
    end = CodedeployDeploymentGroupBlueGreenDeploymentConfigTerminateBlueInstancesOnDeploymentSuccess(
        action="TERMINATE", termination_wait_time_in_minutes=kept_warm_min
    )
    begin = CodedeployDeploymentGroupBlueGreenDeploymentConfigDeploymentReadyOption(
        action_on_timeout="CONTINUE_DEPLOYMENT"
    )
    return CodedeployDeploymentGroupBlueGreenDeploymentConfig(
        deployment_ready_option=begin, terminate_blue_instances_on_deployment_success=end
    )


def _bounded(service: str, alarm_names: Sequence[str]) -> list[str]:
    if len(alarm_names) > ALARMS_MAX:
        raise SettingError(
            f"alarm_names of {service}",
            got=f"{len(alarm_names)} alarms",
            want=f"{ALARMS_MAX} at most: CodeDeploy looks at no more for one deployment group",
        )
    return list(alarm_names)


def _watched(alarms: list[str]) -> CodedeployDeploymentGroupAlarmConfiguration | None:
    """None where nothing watches: CodeDeploy keeps no empty list, and each plan would want it again."""
    if not alarms:
        return None
    return CodedeployDeploymentGroupAlarmConfiguration(
        enabled=True,
        alarms=alarms,
        # an alarm that cannot be read stops the deployment: blind is not healthy
        ignore_poll_alarm_failure=False,
    )
