"""Backup: selections, a vault's policy and notifications, what a vault holds, the region's opt-in.

Plans and vaults are moto's. No job ever runs, so a vault is always empty.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.backup.models import backup_backends
from moto.iam.models import iam_backends

from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, PassOn, Refused, answers, store

SELECTIONS = store()
POLICIES = store()
NOTIFICATIONS = store()
OPT_IN = store()


def _plan(call: Call) -> str:
    plan = backup_backends[ACCOUNT_ID][call.region].plans.get(call["BackupPlanId"])
    if plan is None or plan.deletion_date is not None:
        raise Refused("ResourceNotFoundException", "Cannot find Backup plan")
    return str(call["BackupPlanId"])


def _vault(call: Call) -> Any:
    vaults = backup_backends[ACCOUNT_ID][call.region].vaults
    if call["BackupVaultName"] not in vaults:
        raise Refused("ResourceNotFoundException", f"Backup vault {call['BackupVaultName']} not found")
    return vaults[call["BackupVaultName"]]


@answers("backup", "CreateBackupSelection")
def create_selection(call: Call) -> dict[str, Any]:
    plan, selection = _plan(call), call["BackupSelection"]
    if selection["IamRoleArn"] not in {role.arn for role in iam_backends[ACCOUNT_ID]["aws"].roles.values()}:
        raise Refused(
            "InvalidParameterValueException", f"IAM role {selection['IamRoleArn']} cannot be assumed"
        )
    created = {
        "BackupSelection": selection,
        "SelectionId": str(uuid.uuid4()),
        "BackupPlanId": plan,
        "CreationDate": datetime.now(UTC),
    }
    SELECTIONS[call.region][created["SelectionId"]] = created
    return created


@answers("backup", "GetBackupSelection")
def get_selection(call: Call) -> dict[str, Any]:
    plan = _plan(call)
    found = SELECTIONS[call.region].get(call["SelectionId"])
    if found is None or found["BackupPlanId"] != plan:
        raise Refused("ResourceNotFoundException", "Cannot find Backup selection")
    return dict(found)


@answers("backup", "ListBackupSelections")
def list_selections(call: Call) -> dict[str, Any]:
    found = [one for one in SELECTIONS[call.region].values() if one["BackupPlanId"] == call["BackupPlanId"]]
    named = [
        one | {key: one["BackupSelection"][key] for key in ("SelectionName", "IamRoleArn")} for one in found
    ]
    return {"BackupSelectionsList": named}


@answers("backup", "DeleteBackupSelection")
def delete_selection(call: Call) -> dict[str, Any]:
    get_selection(call)
    del SELECTIONS[call.region][call["SelectionId"]]
    return {}


@answers("backup", "DeleteBackupPlan")
def delete_plan(call: Call) -> dict[str, Any]:
    if list_selections(call)["BackupSelectionsList"]:
        raise Refused("InvalidRequestException", "Related backup plan selections must be deleted first")
    raise PassOn


@answers("backup", "PutBackupVaultAccessPolicy")
def put_policy(call: Call) -> dict[str, Any]:
    _vault(call)
    try:
        json.loads(call["Policy"])
    except ValueError:
        raise Refused("InvalidParameterValueException", "Policy: not JSON") from None
    POLICIES[call.region][call["BackupVaultName"]] = call["Policy"]
    return {}


@answers("backup", "GetBackupVaultAccessPolicy")
def get_policy(call: Call) -> dict[str, Any]:
    vault = _vault(call)
    policy = POLICIES[call.region].get(vault.backup_vault_name)
    if policy is None:
        raise Refused("ResourceNotFoundException", "No policy on this vault")
    return {
        "BackupVaultName": vault.backup_vault_name,
        "BackupVaultArn": vault.backup_vault_arn,
        "Policy": policy,
    }


@answers("backup", "DeleteBackupVaultAccessPolicy")
def delete_policy(call: Call) -> dict[str, Any]:
    POLICIES[call.region].pop(call["BackupVaultName"], None)
    return {}


@answers("backup", "PutBackupVaultNotifications")
def put_notifications(call: Call) -> dict[str, Any]:
    _vault(call)
    NOTIFICATIONS[call.region][call["BackupVaultName"]] = {
        "SNSTopicArn": call["SNSTopicArn"],
        "BackupVaultEvents": call["BackupVaultEvents"],
    }
    return {}


@answers("backup", "GetBackupVaultNotifications")
def get_notifications(call: Call) -> dict[str, Any]:
    vault = _vault(call)
    found = NOTIFICATIONS[call.region].get(vault.backup_vault_name)
    if found is None:
        raise Refused("ResourceNotFoundException", "No notifications on this vault")
    named = {"BackupVaultName": vault.backup_vault_name, "BackupVaultArn": vault.backup_vault_arn}
    return found | named


@answers("backup", "DeleteBackupVaultNotifications")
def delete_notifications(call: Call) -> dict[str, Any]:
    NOTIFICATIONS[call.region].pop(call["BackupVaultName"], None)
    return {}


@answers("backup", "ListRecoveryPointsByBackupVault")
def recovery_points(call: Call) -> dict[str, Any]:
    _vault(call)
    return {"RecoveryPoints": []}


@answers("backup", "DeleteBackupVault")
def delete_vault(call: Call) -> dict[str, Any]:
    for kept in (POLICIES, NOTIFICATIONS):
        kept[call.region].pop(call["BackupVaultName"], None)
    raise PassOn


@answers("backup", "UpdateRegionSettings")
def update_region(call: Call) -> dict[str, Any]:
    for field in ("ResourceTypeOptInPreference", "ResourceTypeManagementPreference"):
        OPT_IN[call.region].setdefault(field, {}).update(call.get(field) or {})
    return {}


@answers("backup", "DescribeRegionSettings")
def describe_region(call: Call) -> dict[str, Any]:
    return dict(OPT_IN[call.region])


# --- tags: moto keeps them, and looks for them under an address that is still percent-encoded


def _tagger(call: Call) -> Any:
    return backup_backends[ACCOUNT_ID][call.region]


@answers("backup", "ListTags")
def list_tags(call: Call) -> dict[str, Any]:
    return {"Tags": _tagger(call).list_tags(call["ResourceArn"])}


@answers("backup", "TagResource")
def tag(call: Call) -> dict[str, Any]:
    _tagger(call).tag_resource(call["ResourceArn"], call["Tags"])
    return {}


@answers("backup", "UntagResource")
def untag(call: Call) -> dict[str, Any]:
    _tagger(call).untag_resource(call["ResourceArn"], call["TagKeyList"])
    return {}
