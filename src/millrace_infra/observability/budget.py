"""What the deployment may cost in a month, and who is told before it does.

AWS counts by tag only what is tagged, and only once `suffix` is activated as a cost allocation tag (an account's
billing settings, once). Costs show a day later.
"""

from __future__ import annotations

from typing import Final

from millrace_infra.observability.topics import Topics
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    BudgetsBudget,
    BudgetsBudgetCostFilter,
    BudgetsBudgetNotification,
    Construct,
)

WARN_PERCENT: Final = 80
"""Of the month's sum, spent: a week is left at an even pace."""


class Budget(Construct):
    """The sum is the setting `budget_usd_per_month`. Two regions with one suffix have a budget each."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, topics: Topics) -> None:
        super().__init__(scope, id)
        name = environment.names.in_account("budget", "other")
        BudgetsBudget(
            self,
            "budget",
            name=name,
            budget_type="COST",
            limit_amount=f"{environment.settings.budget_usd_per_month}.0",
            limit_unit="USD",
            time_unit="MONTHLY",
            cost_filter=[
                BudgetsBudgetCostFilter(name="Region", values=[environment.region]),
                BudgetsBudgetCostFilter(name="TagKeyValue", values=[f"user:suffix${environment.suffix}"]),
            ],
            notification=[
                _at(WARN_PERCENT, "ACTUAL", topics["ticket"]),
                _at(100, "FORECASTED", topics["ticket"]),
                _at(100, "ACTUAL", topics["page"]),
            ],
            tags={"Name": name},
        )


def _at(percent: int, kind: str, topic_arn: str) -> BudgetsBudgetNotification:
    return BudgetsBudgetNotification(
        comparison_operator="GREATER_THAN",
        notification_type=kind,
        threshold=percent,
        threshold_type="PERCENTAGE",
        subscriber_sns_topic_arns=[topic_arn],
    )
