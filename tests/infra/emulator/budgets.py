"""Budgets: who is told at which share, and tags. Budgets themselves are moto's."""

from __future__ import annotations

from typing import Any

from moto.budgets.models import budgets_backends

from tests.infra.emulator import tags
from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, PassOn, Refused, answers


def _arn(name: str) -> str:
    """A budget knows no region."""
    return f"arn:aws:budgets::{ACCOUNT_ID}:budget/{name}"


@answers("budgets", "CreateBudget")
def create_budget(call: Call) -> dict[str, Any]:
    """Keeps the tags, which moto does not read, and leaves the rest to moto."""
    tags.put(_arn(call["Budget"]["BudgetName"]), call.get("ResourceTags"))
    raise PassOn


@answers("budgets", "DeleteBudget")
def delete_budget(call: Call) -> dict[str, Any]:
    tags.forget(_arn(call["BudgetName"]))
    raise PassOn


@answers("budgets", "DescribeSubscribersForNotification")
def describe_subscribers(call: Call) -> dict[str, Any]:
    budget = budgets_backends[ACCOUNT_ID]["aws"].budgets[call["AccountId"]].get(call["BudgetName"])
    for notification in budget.notifications if budget is not None else ():
        if all(call["Notification"].get(key) == value for key, value in notification.details.items()):
            return {"Subscribers": notification.subscribers}
    raise Refused("NotFoundException", "no notification of that budget is like it")


@answers("budgets", "ListTagsForResource")
def list_tags(call: Call) -> dict[str, Any]:
    return {"ResourceTags": tags.of(call["ResourceARN"])}


@answers("budgets", "TagResource")
def tag(call: Call) -> dict[str, Any]:
    tags.put(call["ResourceARN"], call["ResourceTags"])
    return {}


@answers("budgets", "UntagResource")
def untag(call: Call) -> dict[str, Any]:
    tags.take(call["ResourceARN"], call["ResourceTagKeys"])
    return {}
