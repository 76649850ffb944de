"""What `millrace up` prints of the page: an address that lets whoever opens it in, or to where they sign in."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from millrace.local.endpoints import Endpoints
from millrace.local.status import StatusLine
from millrace.local.supervisor import Supervisor
from millrace.settings import load

HERE = "http://127.0.0.1:8081"
SIGN_IN = {
    "MILLRACE_OIDC_ISSUER": "https://login.example.com",
    "MILLRACE_OIDC_CLIENT_ID": "page",
    "MILLRACE_OIDC_CLIENT_SECRET": "not-to-be-shown",
}


def said(home: Path, told: dict[str, str], page: str = HERE) -> dict[str, str]:
    """The lines of a start by their first word."""
    (home / "token").write_text("secret-token\n")
    endpoints = Endpoints(
        pid=1, home=str(home), identity="x:1", shards=4, api_url="http://127.0.0.1:8080", dashboard_url=page,
        postgres_url="postgresql://…", stream_url="unix:///s", cache_url="unix:///c",
        token_file=str(home / "token"),
    )  # fmt: skip
    out = io.StringIO()
    Supervisor(load(told), simulate=False, line=StatusLine(out))._say_where(endpoints)
    return {line.split()[0]: " ".join(line.split()[1:]) for line in out.getvalue().splitlines()}


def test_the_token_lets_people_in_where_there_is_no_identity_provider(tmp_path: Path) -> None:
    lines = said(tmp_path, {"MILLRACE_DASHBOARD_URL": "https://page.example.com"})
    assert lines["page"] == f"{HERE}/?token=secret-token"


@pytest.mark.parametrize("url", ["", "https://page.example.com"])
def test_where_people_sign_in_by_name_the_page_is_its_address_alone(tmp_path: Path, url: str) -> None:
    lines = said(tmp_path, SIGN_IN | {"MILLRACE_DASHBOARD_URL": url})
    assert (lines["page"], lines["token"]) == (url or HERE, "secret-token")  # which programs go on using
    assert "not-to-be-shown" not in str(lines)


@pytest.mark.parametrize("told", [{}, SIGN_IN])
def test_no_page_is_said_where_none_runs(tmp_path: Path, told: dict[str, str]) -> None:
    assert "page" not in said(tmp_path, told, page="")
