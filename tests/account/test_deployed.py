"""What only a deployed platform can show: it answers, who it refuses, and that all that starts there stays up.

Runs after `make deploy`, from cfn-outputs/flat-outputs.json and with the credentials of the shell. Everything that
is asked of AWS is a reading call; the only write of all, to the API, is one that must be refused.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.account.conftest import Clients

SERVICES = ("worker", "api", "dashboard")
UNHEALTHY: Final = "millrace-platform-unhealthy-{suffix}"
"""The alarm over all that page."""
CALM_S_MAX: Final = 600
"""What alarmed while nothing ran yet has this long to end: figures come minutes late, and three periods count."""
CALM_EVERY_S: Final = 15
pytestmark = [pytest.mark.account, pytest.mark.requirement("S-24"), pytest.mark.requirement("S-25")]


class Door(http.client.HTTPSConnection):
    """The API at its own domain, found by the name that AWS gave it: its owner may not have pointed the domain yet."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        super().__init__(outputs["api_url"].removeprefix("https://"), timeout=10)
        self._at = outputs["api_public_name"]

    def connect(self) -> None:
        plain = socket.create_connection((self._at, 443), self.timeout)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


def status(outputs: dict[str, Any], path: str, key: str = "", *, method: str = "GET") -> int:
    door = Door(outputs)
    try:
        door.request(method, path, headers={"x-api-key": key} if key else {})
        return door.getresponse().status
    finally:
        door.close()


@pytest.fixture(scope="module")
def api_key(outputs: dict[str, Any], client: Clients) -> str:
    """One that the rotation made and joined to this deployment's usage plan."""
    gateway = client("apigateway")
    keys = gateway.get_usage_plan_keys(usagePlanId=outputs["usage_plan_id"])["items"]
    assert keys, "the usage plan has no key: the first rotation did not end"
    return str(gateway.get_api_key(apiKey=keys[0]["id"], includeValue=True)["value"])


def test_the_api_answers_who_has_a_key_through_the_only_door(outputs: dict[str, Any], api_key: str) -> None:
    assert status(outputs, "/v1/health/live", api_key) == 200


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize("key", ["", "not-a-key-of-this-usage-plan"])
def test_who_has_no_key_is_refused(outputs: dict[str, Any], key: str) -> None:
    assert status(outputs, "/v1/health/live", key) == 403
    assert status(outputs, "/v1/readings", key, method="POST") == 403


@pytest.mark.requirement("S-12")
def test_the_domain_takes_tls_1_2_at_least_and_is_the_only_way_in(
    outputs: dict[str, Any], client: Clients
) -> None:
    gateway, name = client("apigateway"), outputs["api_url"].removeprefix("https://")
    assert gateway.get_domain_name(domainName=name)["securityPolicy"] == "TLS_1_2"
    (mapping,) = gateway.get_base_path_mappings(domainName=name)["items"]
    assert gateway.get_rest_api(restApiId=mapping["restApiId"])["disableExecuteApiEndpoint"] is True


@pytest.mark.requirement("S-10")
def test_a_firewall_stands_before_the_api(outputs: dict[str, Any], client: Clients) -> None:
    firewall, name = client("wafv2"), f"millrace-firewall-{outputs['suffix']}"
    acls = firewall.list_web_acls(Scope="REGIONAL", Limit=100)["WebACLs"]
    (acl,) = (one["ARN"] for one in acls if one["Name"] == name)
    guarded = firewall.list_resources_for_web_acl(WebACLArn=acl, ResourceType="API_GATEWAY")["ResourceArns"]
    assert len(guarded) == 1


def test_every_service_runs_as_many_tasks_as_it_wants(outputs: dict[str, Any], client: Clients) -> None:
    names = [outputs[f"{service}_service_name"] for service in SERVICES]
    found = client("ecs").describe_services(cluster=outputs["cluster_name"], services=names)["services"]
    assert len(found) == len(names)
    for service in found:
        primary = [one for one in service.get("taskSets", ()) if one["status"] == "PRIMARY"]
        serving = (primary or [service])[0]
        assert service["status"] == "ACTIVE"
        assert serving["runningCount"] >= service["desiredCount"] > 0, service["serviceName"]


@pytest.mark.requirement("S-09")
@pytest.mark.parametrize("service", SERVICES)
def test_every_task_is_well_by_its_own_word(outputs: dict[str, Any], client: Clients, service: str) -> None:
    """A task whose shared files cannot be mounted, or whose image or secret cannot be read, never gets this far."""
    ecs, where = client("ecs"), {"cluster": outputs["cluster_name"]}
    arns = ecs.list_tasks(**where, serviceName=outputs[f"{service}_service_name"])["taskArns"]
    assert arns
    for task in ecs.describe_tasks(**where, tasks=arns)["tasks"]:
        (own,) = (one for one in task["containers"] if one["name"] == service)
        assert own["healthStatus"] == "HEALTHY", task["taskArn"]


def calm(cloudwatch: Any, name: str, *, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """The alarm of that name as soon as it is not in alarm; as it is then, if it never ends."""
    for _ in range(CALM_S_MAX // CALM_EVERY_S):
        (found,) = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])[
            "CompositeAlarms"
        ]
        if found["StateValue"] != "ALARM":
            break
        sleep(CALM_EVERY_S)
    return dict(found)


@pytest.mark.requirement("S-23")
@pytest.mark.timeout(CALM_S_MAX + 60)
def test_nothing_that_pages_is_in_alarm(outputs: dict[str, Any], client: Clients) -> None:
    found = calm(client("cloudwatch"), UNHEALTHY.format(suffix=outputs["suffix"]))
    assert found["StateValue"] != "ALARM", found["StateReason"]


def test_the_stream_is_active_and_encrypted(outputs: dict[str, Any], client: Clients) -> None:
    stream = client("kinesis").describe_stream_summary(StreamName=outputs["stream_name"])
    summary = stream["StreamDescriptionSummary"]
    assert summary["StreamStatus"] == "ACTIVE"
    assert summary["EncryptionType"] == "KMS"
    assert summary["ConsumerCount"] >= 1


@pytest.mark.requirement("S-08")
def test_the_cache_lets_nobody_in_but_by_iam_and_over_tls(outputs: dict[str, Any], client: Clients) -> None:
    cache, name = client("elasticache"), f"millrace-cache-{outputs['suffix']}"
    (group,) = cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"]
    assert group["Status"] == "available"
    assert group["TransitEncryptionEnabled"] is True
    (users,) = cache.describe_user_groups(UserGroupId=group["UserGroupIds"][0])["UserGroups"]
    for user in users["UserIds"]:
        (found,) = cache.describe_users(UserId=user)["Users"]
        if found["UserName"] == "default":
            assert found["AccessString"].startswith("off ")
        else:
            assert found["Authentication"]["Type"] == "iam", user


@pytest.mark.requirement("S-11")
def test_each_secret_was_rotated_to_its_end_for_this_database(
    outputs: dict[str, Any], client: Clients
) -> None:
    """The rotation signs in with the new password before it says that it is done."""
    found = client("rds").describe_db_clusters(DBClusterIdentifier=outputs["database_cluster"])["DBClusters"]
    assert found[0]["Status"] == "available"
    for arn in outputs["rotated_secret_arns"]:
        secret = client("secretsmanager").describe_secret(SecretId=arn)
        assert secret["LastRotatedDate"] >= found[0]["ClusterCreateTime"], arn
        pending = [one for one in secret["VersionIdsToStages"].values() if one == ["AWSPENDING"]]
        assert pending == [], arn
