"""Sign-in of people: what the task is told is what the program takes, and what docs/deploy.md says to the provider."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from millrace import settings as of_a_program
from millrace.dashboard.sign_in.oidc import BACK, LEFT, PATHS
from millrace.names import ENV_PREFIX
from millrace_infra.settings import load
from tests.infra.breaking import NOTICED, Body, Change, broken, put
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program
from tests.infra.services.parts import listener_rules, variables
from tests.infra.services.test_what_does_not_run import documented

PAGE = Path(__file__).parents[3] / "docs" / "deploy.md"


def told(platform: Program) -> of_a_program.Settings:
    """The dashboard's settings out of its task's variables, without those that it does not read yet."""
    ours = {
        name: value for name, value in variables(platform, "dashboard").items() if name.startswith(ENV_PREFIX)
    }
    return of_a_program.load({name: ours[name] for name in ours.keys() - documented()["dashboard"]})


@pytest.mark.requirement("S-11")
def test_the_dashboard_takes_the_provider_the_client_and_the_existing_secret(platform: Program) -> None:
    oidc = load(platform.environment, SUFFIX, folder=FOLDER).settings.edge.oidc
    found = told(platform)
    assert (found.oidc_issuer, found.oidc_client_id) == (oidc.issuer, oidc.client_id)
    assert found.oidc_client_secret == ""
    (secret,) = (
        one for one in platform.data("aws_secretsmanager_secret") if one["name"].endswith("dashboard-oidc")
    )
    assert found.secret_dashboard_oidc_arn == f"${{{secret.address}.arn}}"


@pytest.mark.requirement("S-18")
def test_people_come_back_to_the_address_that_the_provider_is_told_of(platform: Program) -> None:
    edge = load(platform.environment, SUFFIX, folder=FOLDER).edge
    assert told(platform).dashboard_url == f"https://{edge.internal_domain}"
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    for path in (BACK, LEFT):
        assert f"`https://<internal_domain>{path}`" in page


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize("listener", ["rules", "test-rules"])
@pytest.mark.parametrize("path", sorted(PATHS | {"/"}))
def test_no_path_of_the_page_is_taken_by_the_api(platform: Program, listener: str, path: str) -> None:
    """A rule without paths takes them all: the first whose pattern matches is where the load balancer goes."""
    host = load(platform.environment, SUFFIX, folder=FOLDER).edge.internal_domain
    for rule in sorted(listener_rules(platform, listener), key=lambda one: int(one["priority"])):
        wanted = {kind: one[kind]["values"] for one in rule["condition"] for kind in one}
        if any(fnmatchcase(path, pattern) for pattern in wanted.get("path_pattern", ["*"])):
            assert "dashboard" in rule.path
            assert wanted["host_header"] == [host]
            return
    raise AssertionError(f"nothing answers {path}")


def told_otherwise(right: str, wrong: str) -> Change:
    def on(body: Body) -> None:
        assert right in body["container_definitions"]
        body["container_definitions"] = body["container_definitions"].replace(right, wrong)

    return on


TASK, RULE = "dashboard/task/definition", "entry/rules/api"
PROVIDER = test_the_dashboard_takes_the_provider_the_client_and_the_existing_secret
BACK_AGAIN = test_people_come_back_to_the_address_that_the_provider_is_told_of
PAGES = test_no_path_of_the_page_is_taken_by_the_api


@pytest.mark.parametrize(
    ("path", "change", "promise", "more"),
    [
        (TASK, told_otherwise("https://login.example.com", "https://elsewhere.example.com"), PROVIDER, ()),
        (TASK, told_otherwise('"value": "millrace-dashboard"', '"value": "another-client"'), PROVIDER, ()),
        (TASK, told_otherwise("https://internal-t1", "https://internal-t2"), BACK_AGAIN, ()),
        (RULE, put("condition.1.path_pattern.values", ["/*"]), PAGES, ("rules", "/")),
        ("entry/rules/dashboard-0", put("condition.0.host_header.values", ["other"]), PAGES, ("rules", "/")),
    ],
)
def test_a_broken_way_in_is_noticed(
    dev: Program, path: str, change: Change, promise: Any, more: tuple[str, ...]
) -> None:
    promise(dev, *more)
    with pytest.raises(NOTICED):
        promise(broken(dev, path, change), *more)
