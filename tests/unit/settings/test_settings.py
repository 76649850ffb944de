"""Settings: where each value comes from, and what is said of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millrace.errors import SettingError
from millrace.settings import Settings, load


def file(folder: Path, text: str, name: str = "settings.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def home(folder: Path, **more: str) -> dict[str, str]:
    return {"MILLRACE_HOME": str(folder), **more}


def test_without_file_and_environment_the_defaults_hold(tmp_path: Path) -> None:
    assert load(home(tmp_path)) == Settings(home=tmp_path)


def test_the_file_in_the_data_folder_goes_before_the_defaults(tmp_path: Path) -> None:
    file(tmp_path, "shards: 3\ndisk_max: 30GB\n")
    found = load(home(tmp_path))
    assert (found.shards, found.disk_max_bytes) == (3, 30 * 10**9)
    assert found.api_port == Settings().api_port


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file(tmp_path, "shards: 3\napi_port: 9000\n")
    found = load(home(tmp_path, MILLRACE_SHARDS="5"))
    assert (found.shards, found.api_port) == (5, 9000)


def test_a_file_that_is_named_goes_before_the_one_in_the_data_folder(tmp_path: Path) -> None:
    file(tmp_path, "shards: 3\n")
    named = file(tmp_path, "shards: 7\n", "other.yaml")
    assert load(home(tmp_path, MILLRACE_SETTINGS=str(named))).shards == 7


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"MILLRACE_SETTINGS: found .*nowhere\.yaml.*wanted a file that exists"
    ):
        load(home(tmp_path, MILLRACE_SETTINGS=str(tmp_path / "nowhere.yaml")))


def test_an_unknown_key_in_a_file_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    file(tmp_path, "shard: 3\n")
    with pytest.raises(SettingError, match=r"^shard: found 'an unknown setting'.*did you mean shards\?"):
        load(home(tmp_path))


def test_an_unknown_variable_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^MILLRACE_API_PROT: .*did you mean MILLRACE_API_PORT\?"):
        load(home(tmp_path, MILLRACE_API_PROT="1"))


def test_variables_of_others_are_none_of_our_business(tmp_path: Path) -> None:
    assert load(home(tmp_path, SHARDS="5", MILLRACE_DATA_DIR="/data")).shards == Settings().shards


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("MILLRACE_SHARDS", "0", "at least 1"),
        ("MILLRACE_SHARDS", "many", "a whole number"),
        ("MILLRACE_SHARDS", "1.5", "a whole number"),
        ("MILLRACE_API_PORT", "65536", "at most 65535"),
        ("MILLRACE_DISK_MAX", "1GB", "at least 2GiB"),
        ("MILLRACE_BODY_BYTES_MAX", "5", "at least 1024 bytes"),
        ("MILLRACE_DISK_MAX", "20 apples", "a whole number of bytes, or a size such as 20GB or 512MiB"),
        ("MILLRACE_PAST_MAX_S", "0", "more than 0"),
        ("MILLRACE_PAST_MAX_S", "a month", "a number"),
        ("MILLRACE_CRITICAL_FUTURE_MAX_S", "-1", "at least 0"),
        ("MILLRACE_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("MILLRACE_DASHBOARD", "perhaps", "true or false"),
    ],
)
def test_a_bad_value_is_named_with_what_was_wanted(
    tmp_path: Path, name: str, value: str, wanted: str
) -> None:
    with pytest.raises(SettingError) as refused:
        load(home(tmp_path, **{name: value}))
    assert re.fullmatch(rf"{name}: found '{value}', wanted {wanted}(\.0)?", str(refused.value))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("fe80::1", "http://[fe80::1]:8080"),
        ("plant.example", "http://plant.example:8080"),
    ],
)
def test_an_api_that_listens_anywhere_has_an_address_that_can_be_asked(
    tmp_path: Path, host: str, url: str
) -> None:
    assert load(home(tmp_path, MILLRACE_API_HOST=host)).api_url == url


@pytest.mark.parametrize("text", ["- shards\n", "shards\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file(tmp_path, text)
    with pytest.raises(SettingError, match="wanted a mapping of settings"):
        load(home(tmp_path))


def test_a_file_that_is_no_yaml_is_refused_by_its_name(tmp_path: Path) -> None:
    path = file(tmp_path, "shards: [\n")
    with pytest.raises(SettingError) as refused:
        load(home(tmp_path))
    assert str(path) in str(refused.value)


def test_no_secret_is_shown_in_an_error(tmp_path: Path) -> None:
    file(tmp_path, "api_token: [hunter2]\n")
    with pytest.raises(SettingError) as refused:
        load(home(tmp_path))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("4GiB", 2**32), ("3.5 gb", 3_500_000_000), ("5000000000", 5_000_000_000)],
)
def test_sizes_may_be_said_with_their_unit(tmp_path: Path, text: str, size: int) -> None:
    assert load(home(tmp_path, MILLRACE_DISK_MAX=text)).disk_max_bytes == size


@pytest.mark.parametrize(
    ("set_", "past_s", "future_s"),
    [
        ({}, (30 * 86_400.0, 30 * 86_400.0), (5.0, 5.0)),
        ({"MILLRACE_PAST_MAX_S": "60"}, (60.0, 60.0), (5.0, 5.0)),
        ({"MILLRACE_CRITICAL_PAST_MAX_S": "60"}, (30 * 86_400.0, 60.0), (5.0, 5.0)),
        ({"MILLRACE_CRITICAL_FUTURE_MAX_S": "0"}, (30 * 86_400.0, 30 * 86_400.0), (5.0, 0.0)),
    ],
    ids=["defaults", "both", "critical-past", "critical-future"],
)
def test_critical_tags_have_the_common_bounds_of_time_unless_they_are_given_their_own(
    tmp_path: Path, set_: dict[str, str], past_s: tuple[float, float], future_s: tuple[float, float]
) -> None:
    found = load(home(tmp_path, **set_))
    assert (found.past_s, found.future_s) == (past_s, future_s)


def test_every_setting_says_what_it_is() -> None:
    mute = [name for name, field in Settings.model_fields.items() if not field.description]
    assert not mute, "write a docstring below the field: docs/settings.md is made from it"


SIGN_IN = {
    "MILLRACE_OIDC_ISSUER": "https://login.example.com/realms/plant",
    "MILLRACE_OIDC_CLIENT_ID": "page",
    "MILLRACE_OIDC_CLIENT_SECRET": "not-to-be-shown",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MILLRACE_OIDC_ISSUER", "login.example.com"),
        ("MILLRACE_OIDC_ISSUER", "http://login.example.com"),
        ("MILLRACE_OIDC_ISSUER", "https://login.example.com/?tenant=1"),
        ("MILLRACE_OIDC_ISSUER", "http://localhost.example.com"),
        ("MILLRACE_OIDC_ISSUER", "https://somebody:word@login.example.com"),
        ("MILLRACE_DASHBOARD_URL", "https://somebody@page.example.com"),
        ("MILLRACE_DASHBOARD_URL", "page.example.com"),
        ("MILLRACE_DASHBOARD_URL", "http://page.example.com:8081"),
    ],
)
def test_people_sign_in_over_tls_or_on_this_machine(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"{name}: found '{re.escape(value)}', wanted an address that begins"):
        load(home(tmp_path, **SIGN_IN | {name: value}))


@pytest.mark.parametrize("place", ["http://localhost:9400", "http://127.0.0.1/", "http://[::1]:8081", "https://a.b"])
def test_a_place_of_this_machine_needs_no_tls(tmp_path: Path, place: str) -> None:
    told = load(home(tmp_path, **SIGN_IN | {"MILLRACE_OIDC_ISSUER": place, "MILLRACE_DASHBOARD_URL": place}))
    assert (told.oidc_issuer, told.dashboard_url) == (place, place)


def test_an_issuer_may_have_a_path_and_the_page_may_not(tmp_path: Path) -> None:
    """Its way back and its cookies are at the root: below a path nobody would ever come in."""
    place = "https://login.example.com/realms/plant"
    assert load(home(tmp_path, **SIGN_IN | {"MILLRACE_OIDC_ISSUER": place})).oidc_issuer == place
    for url in ("https://example.com/page", "http://127.0.0.1:8081/page/", "https://example.com//"):
        with pytest.raises(SettingError, match="without a path"):
            load(home(tmp_path, **SIGN_IN | {"MILLRACE_DASHBOARD_URL": url}))


@pytest.mark.parametrize("missing", ["MILLRACE_OIDC_CLIENT_ID", "MILLRACE_OIDC_CLIENT_SECRET"])
def test_half_a_sign_in_is_refused(tmp_path: Path, missing: str) -> None:
    with pytest.raises(SettingError, match=missing):
        load(home(tmp_path, **{name: value for name, value in SIGN_IN.items() if name != missing}))
    if missing.endswith("SECRET"):
        told = {**SIGN_IN, missing: "", "MILLRACE_SECRET_DASHBOARD_OIDC_ARN": "arn:aws:secretsmanager:…"}
        assert load(home(tmp_path, **told)).secret_dashboard_oidc_arn


def test_the_client_secret_is_shown_nowhere(tmp_path: Path) -> None:
    assert "not-to-be-shown" not in repr(load(home(tmp_path, **SIGN_IN)))


def test_a_file_that_cannot_be_read_is_a_mistake_in_words(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"# l\xfcon\nshards: 3\n")
    (tmp_path / "a-folder").mkdir()
    for name, words in (("latin", "not UTF-8 at offset 3"), ("a-folder", "Is a directory")):
        with pytest.raises(SettingError, match=rf"{name}: found .*{words}.*, wanted a YAML file"):
            load(home(tmp_path, MILLRACE_SETTINGS=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PAST_MAX_S", "inf", "wanted a finite number"),
        ("PAST_MAX_S", "1e300", "wanted at most"),
        ("CRITICAL_FUTURE_MAX_S", "1e300", "wanted at most"),
        ("FUTURE_MAX_S", "nan", "wanted"),
        ("TRACE_RATIO", "nan", "wanted"),
        ("API_HOST", "", "wanted an address"),
        ("API_HOST", " ", "wanted an address"),
        ("API_TOKEN", "t\xfcr", "found '\\(not shown\\)', wanted letters"),
        ("API_TOKEN", "two words", "wanted letters"),
    ],
)
def test_a_value_that_some_process_would_die_of_is_refused_at_once(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    with pytest.raises(SettingError, match=f"MILLRACE_{name}: .*{words}") as refused:
        load(home(tmp_path, **{f"MILLRACE_{name}": value}))
    assert name != "API_TOKEN" or value not in str(refused.value)
