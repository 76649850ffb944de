"""End points of AWS's services in the VPC: gateways in every environment, interfaces where they carry the APIs."""

from __future__ import annotations

from millrace_infra.network.end_point_services import GATEWAYS, INTERFACES, statements
from millrace_infra.network.subnets import Subnets
from millrace_infra.policy import document
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, SecurityGroup, Vpc, VpcEndpoint


class GatewayEndPoints(Construct):
    """S3 and DynamoDB: routes in the private subnets, free of charge."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, vpc: Vpc, private: Subnets
    ) -> None:
        super().__init__(scope, id)
        account_id, region = environment.settings.account_id, environment.region
        self._end_points = {
            service.name: VpcEndpoint(
                self,
                service.name,
                vpc_id=vpc.id,
                vpc_endpoint_type="Gateway",
                service_name=f"com.amazonaws.{region}.{service.name}",
                route_table_ids=private.route_table_ids,
                policy=document(*statements(service, account_id=account_id, region=region)),
                tags={"Name": environment.names.of(service.name)},
            )
            for service in GATEWAYS
        }

    @property
    def prefix_lists(self) -> dict[str, str]:
        """For rules of a security group: the addresses of each service."""
        return {name: end_point.prefix_list_id for name, end_point in self._end_points.items()}


class InterfaceEndPoints(Construct):
    """One address for each service in each zone; its public name leads there within the VPC."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        vpc: Vpc,
        private: Subnets,
        group: SecurityGroup,
    ) -> None:
        super().__init__(scope, id)
        account_id, region = environment.settings.account_id, environment.region
        for service in INTERFACES:
            noun = service.name.replace(".", "-")
            VpcEndpoint(
                self,
                noun,
                vpc_id=vpc.id,
                vpc_endpoint_type="Interface",
                service_name=f"com.amazonaws.{region}.{service.name}",
                subnet_ids=private.ids,
                security_group_ids=[group.id],
                private_dns_enabled=True,
                policy=document(*statements(service, account_id=account_id, region=region)),
                tags={"Name": environment.names.of(noun)},
            )
