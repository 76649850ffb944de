"""What is there already of the account's own stack, and where in the program it belongs: `bootstrap` adopts it.

A first run may break off, and its state with it, when a machine of the CI goes or a folder is emptied. What it had
made has our names still, and AWS makes nothing twice under one name: a second run without these would end there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from millrace.errors import SettingError
from millrace.names import PROJECT
from millrace_infra.preflight import bucket_is_there
from millrace_infra.settings import Environment

Clients = Callable[[str], Any]
Resources = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Kind -> logical id -> what the program says of it."""


def found_by_name(resources: Resources, environment: Environment, client: Clients) -> Iterator[tuple[str, str]]:
    """(address, import id) of what our names find. The rest are settings, and making one is setting it."""
    keys = _keys(client("kms"))
    for id_, body in resources.get("aws_kms_alias", {}).items():
        if body["name"] in keys:
            yield f"aws_kms_alias.{id_}", body["name"]
            if keys[body["name"]]:
                yield body["target_key_id"].removeprefix("${").removesuffix(".key_id}"), keys[body["name"]]
    for kind, find in _NAMED.items():
        for id_, body in resources.get(kind, {}).items():
            if there := find(body, environment, client):
                yield f"{kind}.{id_}", there


def _keys(kms: Any) -> dict[str, str]:
    """Alias -> its key; empty for one that is about to be deleted, which nobody can adopt."""
    pages = kms.get_paginator("list_aliases").paginate()
    aliases = {one["AliasName"]: one.get("TargetKeyId", "") for page in pages for one in page["Aliases"]}
    ours = {name: key for name, key in aliases.items() if key and not name.startswith("alias/aws/")}
    return {name: key if _is_alive(kms, key) else "" for name, key in ours.items()}


def _is_alive(kms: Any, key: str) -> bool:
    return bool(kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] != "PendingDeletion")


def _role(body: Mapping[str, Any], _: Environment, client: Clients) -> str:
    iam = client("iam")
    try:
        iam.get_role(RoleName=body["name"])
    except iam.exceptions.NoSuchEntityException:
        return ""
    return str(body["name"])


def _policy(body: Mapping[str, Any], environment: Environment, client: Clients) -> str:
    iam, arn = client("iam"), f"arn:aws:iam::{environment.settings.account_id}:policy/{body['name']}"
    try:
        iam.get_policy(PolicyArn=arn)
    except iam.exceptions.NoSuchEntityException:
        return ""
    return arn


def _bucket(body: Mapping[str, Any], _: Environment, client: Clients) -> str:
    s3, name = client("s3"), str(body["bucket"])
    if not bucket_is_there(s3, name):
        return ""
    if not _is_ours(s3, name):
        raise SettingError(
            "state.bucket",
            got=f"{name}, which is there without the tag project={PROJECT}",
            want="a bucket for this platform alone, which bootstrap makes: its policy, versions and life cycle are set",
        )
    return name


def _is_ours(s3: Any, bucket: str) -> bool:
    try:
        tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        return False
    return {"Key": "project", "Value": PROJECT} in tags


_NAMED: Final[Mapping[str, Callable[[Mapping[str, Any], Environment, Clients], str]]] = {
    "aws_iam_role": _role,
    "aws_iam_policy": _policy,
    "aws_s3_bucket": _bucket,
}
"""Kind -> the id by which Terraform takes it over, or an empty string. Of each, AWS takes a name once."""
