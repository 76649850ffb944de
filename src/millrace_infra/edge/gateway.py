"""The REST API for integrations: API Gateway -> VPC link -> network load balancer -> the service.

The custom domain is the only door: the API's own end point is off, and the domain takes TLS 1.2 at least.
Callers bring two things: a key (`x-api-key`), by which API Gateway knows whose quota it is, and the service's
own bearer token, by which the service lets them in. No resource policy narrows it further: integrations call
from anywhere, and whoever should not is met by the firewall, the key and the token.

Keys are no resources here: Terraform would keep their values in its state. The rotation makes them and joins
them to the usage plan.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from millrace_infra.edge.definition import LINK_VARIABLE, as_terraform, definition
from millrace_infra.edge.firewall import Firewall
from millrace_infra.entry import Entry
from millrace_infra.observability.logs import Logs
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    ApiGatewayBasePathMapping,
    ApiGatewayDeployment,
    ApiGatewayDomainName,
    ApiGatewayDomainNameEndpointConfiguration,
    ApiGatewayMethodSettings,
    ApiGatewayMethodSettingsSettings,
    ApiGatewayRestApi,
    ApiGatewayRestApiEndpointConfiguration,
    ApiGatewayStage,
    ApiGatewayStageAccessLogSettings,
    ApiGatewayUsagePlan,
    ApiGatewayUsagePlanApiStages,
    ApiGatewayUsagePlanQuotaSettings,
    ApiGatewayUsagePlanThrottleSettings,
    ApiGatewayVpcLink,
    Construct,
    TerraformResourceLifecycle,
)

SHARE_OF_ONE_KEY: Final = 2
"""One key gets half of what all get: a caller in a loop leaves the other half to the others."""
LOGGED: Final = {
    "request_id": "$context.requestId",
    "time": "$context.requestTime",
    "ip": "$context.identity.sourceIp",
    "api_key_id": "$context.identity.apiKeyId",
    "method": "$context.httpMethod",
    "resource": "$context.resourcePath",
    "path": "$context.path",
    "status": "$context.status",
    "response_bytes": "$context.responseLength",
    "latency_ms": "$context.responseLatency",
    "service_latency_ms": "$context.integrationLatency",
    "service_status": "$context.integrationStatus",
    "trace": "$context.xrayTraceId",
    "firewall_status": "$context.waf.status",
    "error": "$context.error.responseType",
    "user_agent": "$context.identity.userAgent",
}
"""The access log's fields. No query and no header that holds a secret."""


class Gateway(Construct):
    """The API, its stage with limits and log, its domain, its firewall."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, entry: Entry, logs: Logs
    ) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self.name = environment.names.of("gateway")
        """The value of the metrics' dimension `ApiName`."""
        self._link = ApiGatewayVpcLink(
            self, "link", name=self.name, target_arns=[entry.nlb_arn], tags={"Name": self.name}
        )
        edge = environment.edge
        self._definition = definition(host=edge.internal_domain, domain=edge.domain)
        self._api = self._rest_api()
        self._stage = self._serving(logs)
        self._limits()
        self._usage_plan = self._plan()
        self._domain = self._only_door()
        self.firewall = Firewall(
            self,
            "firewall",
            environment=environment,
            stage_arn=self._stage.arn,
            log_group_arn=logs.group("waf").arn,
        )

    # --- what others need ---------------------------------------------------------------------------

    @property
    def rest_api_id(self) -> str:
        return self._api.id

    @property
    def stage_name(self) -> str:
        return self._stage.stage_name

    @property
    def usage_plan_id(self) -> str:
        return self._usage_plan.id

    @property
    def invoke_url(self) -> str:
        """Where integrators call; the public name's record points to `public_name`."""
        return f"https://{self._environment.edge.domain}"

    @property
    def public_name(self) -> str:
        """What the owner of the domain's zone makes `domain` an alias of."""
        return self._domain.regional_domain_name

    # --- its parts ----------------------------------------------------------------------------------

    def _rest_api(self) -> ApiGatewayRestApi:
        """What the definition says (media types, compression, key source) is said there only."""
        return ApiGatewayRestApi(
            self,
            "api",
            name=self.name,
            body=as_terraform(self._definition),
            endpoint_configuration=ApiGatewayRestApiEndpointConfiguration(types=["REGIONAL"]),
            disable_execute_api_endpoint=True,
            tags={"Name": self.name},
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )

    def _serving(self, logs: Logs) -> ApiGatewayStage:
        """A stage serves a deployment, which is a copy of the definition: a new text makes a new one."""
        text = as_terraform(self._definition)
        name = self._environment.names.of("stage")
        # what goes wrong inside of API Gateway; it has one name for the group, and would make it itself
        execution = logs.prescribed("gateway-execution", f"API-Gateway-Execution-Logs_{self._api.id}/{name}")
        deployment = ApiGatewayDeployment(
            self,
            "deployment",
            rest_api_id=self._api.id,
            triggers={"definition": hashlib.sha256(text.encode()).hexdigest()},
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )
        return ApiGatewayStage(
            self,
            "stage",
            rest_api_id=self._api.id,
            deployment_id=deployment.id,
            stage_name=name,
            variables={LINK_VARIABLE: self._link.id},
            access_log_settings=ApiGatewayStageAccessLogSettings(
                destination_arn=logs.group("gateway").arn, format=json.dumps(LOGGED)
            ),
            xray_tracing_enabled=True,
            # answers are seconds old when they are made: a cache would only make them older
            cache_cluster_enabled=False,
            tags={"Name": name},
            depends_on=[execution],
        )

    def _limits(self) -> None:
        """What all callers together may ask for: what the tasks behind carry, as the settings declare."""
        edge = self._environment.edge
        ApiGatewayMethodSettings(
            self,
            "limits",
            rest_api_id=self._api.id,
            stage_name=self._stage.stage_name,
            method_path="*/*",
            settings=ApiGatewayMethodSettingsSettings(
                metrics_enabled=True,
                logging_level="ERROR",
                data_trace_enabled=False,  # would write bodies and keys into the log
                throttling_rate_limit=edge.requests_per_s,
                throttling_burst_limit=edge.burst,
            ),
        )

    def _plan(self) -> ApiGatewayUsagePlan:
        """What each key may ask for."""
        edge = self._environment.edge
        name = self._environment.names.of("integrations")
        return ApiGatewayUsagePlan(
            self,
            "plan",
            name=name,
            api_stages=[ApiGatewayUsagePlanApiStages(api_id=self._api.id, stage=self._stage.stage_name)],
            throttle_settings=ApiGatewayUsagePlanThrottleSettings(
                rate_limit=max(1, edge.requests_per_s // SHARE_OF_ONE_KEY),
                burst_limit=max(1, edge.burst // SHARE_OF_ONE_KEY),
            ),
            quota_settings=ApiGatewayUsagePlanQuotaSettings(limit=edge.requests_per_day, period="DAY"),
            tags={"Name": name},
        )

    def _only_door(self) -> ApiGatewayDomainName:
        edge = self._environment.edge
        domain = ApiGatewayDomainName(
            self,
            "domain",
            domain_name=edge.domain,
            regional_certificate_arn=edge.certificate_arn,
            security_policy="TLS_1_2",
            endpoint_configuration=ApiGatewayDomainNameEndpointConfiguration(types=["REGIONAL"]),
            tags={"Name": self._environment.names.of("domain")},
        )
        ApiGatewayBasePathMapping(
            self,
            "mapping",
            api_id=self._api.id,
            stage_name=self._stage.stage_name,
            domain_name=domain.domain_name,
        )
        return domain
