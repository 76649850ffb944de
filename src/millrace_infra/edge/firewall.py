"""The web firewall before the REST API: AWS's managed rules, and a bound for each address.

Rules that look into bodies only count; a rule of ours then blocks what they marked, on every path but ingest.
A body of readings is data: longer than the 8 KB that the managed rule allows, binary, and free to hold a text
that looks like an attack. The service decodes it strictly and runs none of it.
"""

from __future__ import annotations

from typing import Any, Final

from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    Wafv2WebAcl,
    Wafv2WebAclAssociation,
    Wafv2WebAclDefaultAction,
    Wafv2WebAclDefaultActionAllow,
    Wafv2WebAclLoggingConfiguration,
    Wafv2WebAclLoggingConfigurationRedactedFields,
    Wafv2WebAclLoggingConfigurationRedactedFieldsSingleHeader,
    Wafv2WebAclRule,
    Wafv2WebAclRuleAction,
    Wafv2WebAclRuleActionBlock,
    Wafv2WebAclRuleOverrideAction,
    Wafv2WebAclRuleOverrideActionNone,
    Wafv2WebAclRuleVisibilityConfig,
    Wafv2WebAclVisibilityConfig,
)

INGEST_PATH: Final = "/v1/readings"
COMMON: Final = "AWSManagedRulesCommonRuleSet"
KNOWN_BAD: Final = "AWSManagedRulesKnownBadInputsRuleSet"
_COMMON_LABEL: Final = "awswaf:managed:aws:core-rule-set:"
_KNOWN_BAD_LABEL: Final = "awswaf:managed:aws:known-bad-inputs:"
BODY_RULES: Final = {
    COMMON: {
        "SizeRestrictions_BODY": f"{_COMMON_LABEL}SizeRestrictions_Body",
        "CrossSiteScripting_BODY": f"{_COMMON_LABEL}CrossSiteScripting_Body",
        "GenericLFI_BODY": f"{_COMMON_LABEL}GenericLFI_Body",
        "GenericRFI_BODY": f"{_COMMON_LABEL}GenericRFI_Body",
        "EC2MetaDataSSRF_BODY": f"{_COMMON_LABEL}EC2MetaDataSSRF_Body",
    },
    KNOWN_BAD: {
        "JavaDeserializationRCE_BODY": f"{_KNOWN_BAD_LABEL}JavaDeserializationRCE_Body",
        "Log4JRCE_BODY": f"{_KNOWN_BAD_LABEL}Log4JRCE_Body",
    },
}
"""Group -> rule of it that looks into bodies -> the label that it leaves. Source: AWS WAF, baseline rule groups."""
ALSO_COUNTED: Final = {COMMON: ("NoUserAgent_HEADER",)}
"""Gateways and devices often name no user agent; they have a key."""
MANAGED: Final = {
    group: (*BODY_RULES.get(group, ()), *ALSO_COUNTED.get(group, ()))
    for group in ("AWSManagedRulesAmazonIpReputationList", COMMON, KNOWN_BAD)
}
"""Group -> rules of it that count where they would block; in order of their price."""
WINDOW_S: Final = 300
SECRET_HEADERS: Final = ("authorization", "x-api-key")


class Firewall(Construct):
    """One web ACL, its association with the stage, and its log without the callers' secrets."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, stage_arn: str, log_group_arn: str
    ) -> None:
        super().__init__(scope, id)
        self.name = environment.names.of("firewall")
        acl = Wafv2WebAcl(
            self,
            "acl",
            name=self.name,
            scope="REGIONAL",
            default_action=Wafv2WebAclDefaultAction(allow=Wafv2WebAclDefaultActionAllow()),
            rule=_rules(environment),
            visibility_config=Wafv2WebAclVisibilityConfig(
                metric_name=self.name, cloudwatch_metrics_enabled=True, sampled_requests_enabled=True
            ),
            tags={"Name": self.name},
        )
        Wafv2WebAclAssociation(self, "association", resource_arn=stage_arn, web_acl_arn=acl.arn)
        Wafv2WebAclLoggingConfiguration(
            self,
            "log",
            resource_arn=acl.arn,
            log_destination_configs=[log_group_arn],
            redacted_fields=[_redacted(header) for header in SECRET_HEADERS],
        )


def _rules(environment: Environment) -> list[Wafv2WebAclRule]:
    rate = _rule("rate", 0, _rate(environment.settings.edge.requests_per_s), action=_block())
    managed = [
        _rule(group, 10 + number, _managed(group, counted), override_action=_as_the_group_says())
        for number, (group, counted) in enumerate(MANAGED.items())
    ]
    return [rate, *managed, _rule("bodies-but-readings", 50, _marked_body_elsewhere(), action=_block())]


def _rule(name: str, priority: int, statement: dict[str, Any], **action: Any) -> Wafv2WebAclRule:
    return Wafv2WebAclRule(
        name=name,
        priority=priority,
        # the bindings type no statement: a dict passes as it is, in Terraform's own words
        statement=statement,
        visibility_config=Wafv2WebAclRuleVisibilityConfig(
            metric_name=name, cloudwatch_metrics_enabled=True, sampled_requests_enabled=True
        ),
        **action,
    )


def _block() -> Wafv2WebAclRuleAction:
    return Wafv2WebAclRuleAction(block=Wafv2WebAclRuleActionBlock())


def _as_the_group_says() -> Wafv2WebAclRuleOverrideAction:
    return Wafv2WebAclRuleOverrideAction(none=Wafv2WebAclRuleOverrideActionNone())


def _rate(requests_per_s: int) -> dict[str, Any]:
    """Five minutes at all that the API takes, from one address: the API refuses the surplus anyway, and here
    it costs no request of anybody's quota. A plant behind one address stays below.
    """
    return {
        "rate_based_statement": {
            "limit": requests_per_s * WINDOW_S,
            "evaluation_window_sec": WINDOW_S,
            "aggregate_key_type": "IP",
        }
    }


def _managed(group: str, counted: tuple[str, ...]) -> dict[str, Any]:
    said: dict[str, Any] = {"vendor_name": "AWS", "name": group}
    if counted:
        said["rule_action_override"] = [{"name": rule, "action_to_use": {"count": {}}} for rule in counted]
    return {"managed_rule_group_statement": said}


def _marked_body_elsewhere() -> dict[str, Any]:
    labels = [
        {"label_match_statement": {"scope": "LABEL", "key": label}}
        for rules in BODY_RULES.values()
        for label in rules.values()
    ]
    # the stage's name may stand before the path, so its end is what counts
    ingest = {
        "byte_match_statement": {
            "search_string": INGEST_PATH,
            "positional_constraint": "ENDS_WITH",
            "field_to_match": {"uri_path": {}},
            "text_transformation": [{"priority": 0, "type": "NONE"}],
        }
    }
    not_ingest = {"not_statement": {"statement": [ingest]}}
    return {"and_statement": {"statement": [{"or_statement": {"statement": labels}}, not_ingest]}}


def _redacted(header: str) -> Wafv2WebAclLoggingConfigurationRedactedFields:
    return Wafv2WebAclLoggingConfigurationRedactedFields(
        single_header=Wafv2WebAclLoggingConfigurationRedactedFieldsSingleHeader(name=header)
    )
