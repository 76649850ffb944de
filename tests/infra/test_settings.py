"""What an environment's file may say, and what is refused before anything is synthesized."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic.fields import FieldInfo

from millrace.errors import SettingError
from millrace_infra.settings import known, load
from millrace_infra.settings.regions import regions, zone_prefix
from scripts import document_environments
from tests.infra.conftest import ENVIRONMENTS, FOLDER

LONGEST = "a23456789012"


def changed(folder: Path, **changes: object) -> Path:
    """A folder with `dev` changed at those dotted keys."""
    content = yaml.safe_load((FOLDER / "dev.yaml").read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    (folder / "dev.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_there_are_the_environments_that_the_commission_names() -> None:
    assert set(known(FOLDER)) >= {"dev", "eu-central-1", "us-east-1"}
    assert load("us-east-1", "a", folder=FOLDER).settings.load.events_per_s == 100_000
    assert load("eu-central-1", "a", folder=FOLDER).settings.load.events_per_s == 10_000


@pytest.mark.requirement("S-02")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_takes_the_longest_suffix(name: str) -> None:
    assert load(name, LONGEST, folder=FOLDER).names.of("dashboard-green", "target_group").endswith(LONGEST)


@pytest.mark.parametrize(
    ("suffix", "wanted"),
    [("PR42", "small letters"), ("4pr", "a letter first"), ("a-b", "a hyphen parts"), ("a-", "a hyphen parts"),
     ("registry-b", "a hyphen parts"), ("account", "the account has once"), ("", "small letters"),
     (LONGEST + "3", "12 at most")],
)  # fmt: skip
def test_a_bad_suffix_is_refused_with_what_is_wanted(suffix: str, wanted: str) -> None:
    with pytest.raises(SettingError, match=wanted):
        load("dev", suffix, folder=FOLDER)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("load__events_per_s", 100_000, "yaml stream.shards: found 1, wanted 25 at least"),
        ("load__event_bytes", 100_000, "stream.shards: found 1, wanted 63 at least"),
        ("stream__mode", "on-demand", "'provisioned' or 'on_demand'"),
        ("critical_days", 365, "2557 at least"),
        ("region", "eu-central", "an AWS region"),
        ("region", "eu-middle-9", "an AWS region"),
        ("region", "us-east1", r"did you mean us-east-1\?"),
        ("region", "cn-north-1", "an AWS region"),
        ("region", "us-east-1", "zone_ids: found 'euc1-az2', wanted zones of us-east-1, such as use1-az1"),
        ("zone_ids", ["euc1-az1", "euc1-az1"], "each zone once"),
        ("zone_ids", ["euc1-az1", "eu-central-1b"], "zone_ids: found 'eu-central-1b'"),
        ("zone_ids", ["use1-az1", "use1-az2"], "zones of eu-central-1, such as euc1-az1"),
        ("zone_ids", ["euc1-az1", "euc1-az2", "euc1-az3", "euc1-az4"], "a list of at most 3"),
        ("owner", "Team <x>", "owner: found 'Team <x>', wanted 1 to 256 letters"),
        ("owner", " ", "it is a tag"),
        ("cost_centre", "x" * 257, "it is a tag"),
        ("critical_days", 36_501, "at most 36500"),
        ("standard_days", 30, "at least 31"),
        ("standard_days", 36_501, "at most 36500"),
        (
            "load",
            {"events_per_s": 500, "event_bytes": 2_000, "events_per_record": 525},
            "load.events_per_record: found 525, wanted 524 at most",
        ),
        (
            "worker",
            {"cpu": 512, "memory_mib": 1024, "count_min": 2, "count_max": 2},
            "worker.count_min: found 2, wanted 1 at most, as stream.shards says",
        ),
        ("network__cidr", "127.0.0.0/16", "where AWS makes no VPC"),
        ("network__cidr", "224.0.0.0/20", "where AWS makes no VPC"),
        ("network__allowed_networks", ["10.9.0.0/16"] * 2, "found '10.9.0.0/16', wanted each network once"),
        ("alarm_recipients", ["a@example.com"] * 2, "found 'a@example.com', wanted each address once"),
        ("edge__oidc__issuer", "https://login.example.com?realm=1", r"without \? or #"),
        ("edge__oidc__issuer", "https:///realm", "and a host"),
        ("edge__oidc__client_id", "", "the client's id at your identity provider"),
        ("edge__certificate_arn", "arn:aws:acm:eu-central-1:123456789012:certificate/", "this region and account"),
        ("edge__domain", "internal-a.dev.millrace.example.com", "another than domain: each leads to a door"),
        ("secrets", {"api_keys": ""}, "secrets.api_keys: found '', wanted a secret's name"),
        ("secrets", {"api_keys": "millrace/{sufix}/keys"}, "{suffix} where the suffix goes"),
        (
            "secrets",
            {"api_keys": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x-AbCdEf"},
            "a secret's name, no ARN",
        ),
        (
            "secrets",
            {"database_user": "millrace/a/database-master"},
            "secrets.database_user: found 'millrace/a/database-master', wanted another than database_master",
        ),
        ("state", {"bucket": "My.Bucket"}, "state.bucket: found 'My.Bucket', wanted a bucket's name"),
        ("ci", {"plan_environments": []}, "ci.plan_environments: found .*, wanted a list of at least 1"),
        (
            "ci",
            {"deploy_environments": ["deploy", "plan"]},
            "ci.deploy_environments: found 'plan', wanted environments that are not in plan_environments",
        ),
        ("account_id", "12", "account_id: found '12', wanted the twelve digits of the account"),
        ("account_id", 123456789012, "account_id: found 123456789012, wanted a string, in quotes"),
        ("zone_ids", ["euc1-az1"], "zone_ids: found .*, wanted a list of at least 2$"),
        (
            "network__cidr",
            "10.0.0.0/24",
            "yaml network.cidr: found '10.0.0.0/24', wanted a network of /16 to /20",
        ),
        ("network__cidr", "10.40.1.0/20", "host bits set"),
        ("network__cidr", "10.40.0.0", "such as 10.40.0.0/20"),
        ("network__cidr", "300.40.0.0/20", r"an IPv4 network such as 10.40.0.0/20: Octet 300"),
        ("network__egress", "none", "network.egress: found 'none', wanted 'nat_per_zone', 'nat' or 'endpoints'"),
        ("network__transit_gateway_id", "vpc-1", "tgw-… as AWS calls it, or nothing"),
        ("network__allowed_networks", ["0.0.0.0/0"], "networks that you know"),
        (
            "network__allowed_networks",
            ["10.9.0.0/16", "10.40.8.0/24"],
            "network.allowed_networks: found '10.40.8.0/24', wanted networks outside of cidr, 10.40.0.0/20",
        ),
        ("network__allowed_networks", ["10.0.0.0/8"], "outside of cidr"),
        ("edge__domain", "api.{suffix}.example.com", "in the first label"),
        ("edge__domain", "api-{sufix}.example.com", "such as api-{suffix}.dev.example.com"),
        ("edge__domain", "API.example.com", "small letters"),
        ("edge__domain", "-{suffix}.example.com", "a domain"),
        ("edge__domain", "localhost", "a domain"),
        ("edge__domain", "a" * 52 + "{suffix}.example.com", "a domain"),
        ("edge__domain", ".".join(["a" * 60] * 2) + ".example.com", "128 characters at most"),
        ("edge__internal_domain", "api-{suffix}.dev.millrace.example.com", "another than domain"),
        (
            "edge__certificate_arn",
            "arn:aws:acm:us-east-1:123456789012:certificate/1",
            "edge.certificate_arn: found .*, wanted arn:aws:acm:eu-central-1:123456789012:certificate/",
        ),
        (
            "edge__certificate_arn",
            "arn:aws:acm:eu-central-1:999999999999:certificate/1",
            "this region and account",
        ),
        (
            "edge__certificate_arn",
            "arn:aws:iam::123456789012:server-certificate/1",
            "this region and account",
        ),
        ("database__instance_class", "db.t4g.micro", "db.t4g as one of medium, large"),
        ("database__instance_class", "db.r77g.large", r"did you mean db.r7g.large\?"),
        ("database__instance_class", "cache.r7g.large", "db.<family>.<size>"),
        ("database__instance_class", "r7g.large", "db.<family>.<size>"),
        ("cache__node_type", "cache.t4g.large", "cache.t4g as one of micro, small, medium"),
        ("cache__node_type", "cache.r6gd.xlarge", "of the families"),
        ("worker__memory_mib", 3000, "not offered by Fargate"),
        ("worker__count_max", 0, "at least 1"),
        ("database__backup_days", 36, "at most 35"),
        ("alarm_recipients", [], "wanted a list of at least 1$"),
        ("alarm_recipients", ["nobody"], "alarm_recipients.0: found 'nobody', wanted an address of mail"),
        ("alarm_recipients", "a@example.com", "a list, \\[one, another\\]"),
        ("colour", "red", "colour: found 'red', wanted no key of that name; known are region, "),
        ("database__reader", 2, r"database.reader: found 2, wanted no key of that name \(did you mean readers\?\)"),
        ("load", 500, "load: found 500, wanted a mapping"),
        ("load__events_per_s", "many", "load.events_per_s: found 'many', wanted a whole number"),
        ("edge__oidc__issuer", "login.example.com", "an address that begins with https://"),
        ("ci", {"repository": "millrace"}, "ci.repository: found 'millrace', wanted owner/name of a repository"),
        (
            "producers",
            {"principals": ["arn:aws:iam::999999999999:role/x"]},
            "producers.principals: found 'arn:aws:iam::999999999999:role/x', wanted roles of this account",
        ),
        (
            "producers",
            {"principals": ["arn:aws:iam::123456789012:role/*"]},
            "each by its whole name",
        ),
        ("producers", {"principals": ["*"]}, "producers.principals.0: found '\\*', wanted an ARN"),
        (
            "producers",
            {
                "kind": "roles_anywhere",
                "principals": ["arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/1"],
            },
            "a trust anchor of this region and account",
        ),
        ("producers", {"kind": "roles_anywhere"}, "exactly one: the trust anchor's ARN"),
        (
            "producers",
            {"kind": "iot", "principals": ["arn:aws:iam::123456789012:role/x"]},
            "none for iot",
        ),
    ],
)
def test_an_impossible_setting_is_refused_with_what_is_wanted(
    tmp_path: Path, key: str, value: object, wanted: str
) -> None:
    with pytest.raises(SettingError, match=wanted):
        load("dev", "a", folder=changed(tmp_path, **{key: value}))


def test_a_domain_is_of_the_suffix_or_as_it_was_written(tmp_path: Path) -> None:
    assert load("dev", LONGEST, folder=FOLDER).edge.domain == f"api-{LONGEST}.dev.millrace.example.com"
    folder = changed(tmp_path, edge__domain="api.example.com")
    edge = load("dev", "prod", folder=folder).edge
    assert (edge.domain, edge.internal_domain) == (
        "api.example.com",
        "internal-prod.dev.millrace.example.com",
    )


@pytest.mark.parametrize(
    ("region", "prefix"),
    [("us-east-1", "use1"), ("eu-central-1", "euc1"), ("ap-southeast-2", "apse2"), ("ap-northeast-3", "apne3"),
     ("il-central-1", "ilc1"), ("sa-east-1", "sae1")],
)  # fmt: skip
def test_a_region_s_zones_are_known_by_their_prefix(region: str, prefix: str) -> None:
    """As the AWS documentation of availability zone ids lists them."""
    assert zone_prefix(region) == prefix


def test_no_two_regions_share_a_prefix() -> None:
    assert len({zone_prefix(region) for region in regions()}) == len(regions()) > 30


def test_an_on_demand_stream_is_refused_where_a_fresh_one_would_throttle(tmp_path: Path) -> None:
    folder = changed(tmp_path, load__events_per_s=100_000, stream__mode="on_demand")
    with pytest.raises(SettingError, match="wanted provisioned, with 25 shards"):
        load("dev", "a", folder=folder)


def test_an_on_demand_stream_is_refused_for_its_records_where_its_bytes_would_fit(tmp_path: Path) -> None:
    load_of_many = {"events_per_s": 5_000, "event_bytes": 12, "events_per_record": 1}
    folder = changed(tmp_path, load=load_of_many, stream__mode="on_demand")
    with pytest.raises(SettingError, match=r"4000 records/s; the load is 75000 and 6250"):
        load("dev", "a", folder=folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("onwer: me", r"dev.yaml onwer: found 'me', wanted no key of that name \(did you mean owner\?\)"),
        ("", "dev.yaml owner: found 'nothing', wanted a value: this key has no default"),
    ],
)
def test_a_key_that_is_missing_or_misspelt_is_named(tmp_path: Path, line: str, said: str) -> None:
    """A misspelt one is missing too: it is the one to mend."""
    text = (FOLDER / "dev.yaml").read_text().replace("owner: platform-team", line)
    (tmp_path / "dev.yaml").write_text(text)
    with pytest.raises(SettingError, match=said):
        load("dev", "a", folder=tmp_path)


def test_who_calls_from_another_folder_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="call it from the project's folder"):
        load("dev", "a", folder=tmp_path / "environments")


def test_an_unknown_environment_names_the_nearest() -> None:
    with pytest.raises(SettingError, match=r"did you mean dev\?"):
        load("devv", "a", folder=FOLDER)


def test_another_region_than_the_files_is_refused() -> None:
    with pytest.raises(SettingError, match="eu-central-1, as dev"):
        load("dev", "a", folder=FOLDER, region="us-east-1")


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dev.yaml").write_text("a: [")
    with pytest.raises(SettingError, match="wanted YAML") as error:
        load("dev", "a", folder=tmp_path)
    assert r"\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("profile: ephemeral", r"dev.yaml line 3: found 'region a second time', wanted one of them; line 1 has it"),
        ("stream: {shards: 4, shards: 8}", r"line 2: found 'shards a second time', wanted one of them; line 2"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, more: str, said: str) -> None:
    """YAML's loader would take the last, and an earlier `profile: records` be undone by it."""
    (tmp_path / "dev.yaml").write_text(f"region: eu-central-1\n{more}\nregion: eu-west-1\n")
    with pytest.raises(SettingError, match=said):
        load("dev", "a", folder=tmp_path)


def test_a_key_of_one_part_may_stand_in_another(tmp_path: Path) -> None:
    text = (FOLDER / "dev.yaml").read_text()
    assert text.count("count_min") > 1
    (tmp_path / "dev.yaml").write_text(text)
    assert load("dev", "a", folder=tmp_path).settings == load("dev", "a", folder=FOLDER).settings


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dev.yaml").write_bytes(b"owner: \xff")
    with pytest.raises(SettingError, match=r"dev.yaml: found 'no UTF-8 at byte 7', wanted YAML in UTF-8"):
        load("dev", "a", folder=tmp_path)
    (tmp_path / "plant7.yaml").mkdir()
    with pytest.raises(SettingError, match=r"plant7.yaml: found 'Is a directory', wanted a file"):
        load("plant7", "a", folder=tmp_path)


def test_the_page_of_the_keys_is_current() -> None:
    page = (FOLDER.parent / "docs" / "environments.md").read_text(encoding="utf-8")
    assert page == document_environments.table(), "make docs writes it again"


@pytest.mark.parametrize(("key", "field"), list(document_environments.entries()))
def test_every_key_has_its_meaning(key: str, field: FieldInfo) -> None:
    assert field.description, f"give {key} a docstring"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_key_of_an_environment_s_file_is_on_the_page(name: str) -> None:
    written = set(dotted(yaml.safe_load((FOLDER / f"{name}.yaml").read_text())))
    assert written <= {key for key, _ in document_environments.entries()}
    assert written >= {key for key, field in document_environments.entries() if field.is_required()}


def dotted(content: dict[str, object], path: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "dev.yaml").write_text("")
    with pytest.raises(SettingError, match="found 'an empty file', wanted a mapping of settings"):
        load("dev", "a", folder=tmp_path)
