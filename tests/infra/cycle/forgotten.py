"""What the emulator forgets, attribute by attribute, so that a second plan sees a difference that AWS would not show.

A row that matches nothing any more is an error, as is a difference without a row: the list is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from tests.infra.cycle.differences import Difference


class Forgotten(NamedTuple):
    address: str
    """Pattern of addresses; `*` is anything."""
    attribute: str
    """Pattern of the attribute's path."""
    reason: str
    everywhere: bool = True
    """Seen in each environment; False for what only some environments have."""

    def covers(self, difference: Difference) -> bool:
        return fnmatchcase(difference.address, self.address) and fnmatchcase(
            difference.attribute, self.attribute
        )


FORGOTTEN: Final[tuple[Forgotten, ...]] = (
    Forgotten(
        "aws_vpc_security_group_ingress_rule.*", "description", "moto drops it where a rule names a group"
    ),
    Forgotten(
        "aws_vpc_security_group_egress_rule.*", "description", "moto drops it where a rule names a group"
    ),
    Forgotten(
        "aws_rds_cluster.*",
        "scaling_configuration.*",
        "moto tells of one on a cluster that is not serverless",
    ),
    Forgotten("aws_rds_cluster_instance.*", "performance_insights_*", "moto keeps it for clusters only"),
    Forgotten("aws_ecs_service.*", "availability_zone_rebalancing", "moto does not keep it"),
    Forgotten("aws_ecs_service.*", "enable_ecs_managed_tags", "moto does not keep it"),
    Forgotten("aws_ecs_service.*", "health_check_grace_period_seconds", "moto does not keep it"),
    Forgotten(
        "aws_lb.entry_nlb_*",
        "enforce_security_group_inbound_rules_on_private_link_traffic",
        "moto does not keep it",
    ),
    Forgotten("aws_lambda_function.*", "dead_letter_config", "moto does not keep it"),
    Forgotten("aws_lambda_function.*", "logging_config", "moto does not keep it"),
    Forgotten(
        "aws_s3_bucket_replication_configuration.*",
        "rule.source_selection_criteria",
        "moto does not keep it",
        everywhere=False,  # only where the archive has a second copy
    ),
)


def unexplained(found: Iterable[Difference]) -> list[Difference]:
    """Differences that no row covers: drift of ours."""
    return sorted(one for one in found if not any(row.covers(one) for row in FORGOTTEN))


def outdated(found: Iterable[Difference]) -> list[Forgotten]:
    """Rows that cover no difference, of those that should show everywhere."""
    seen = list(found)
    return [row for row in FORGOTTEN if row.everywhere and not any(row.covers(one) for one in seen)]
