"""Terraform's log says what is asked of it; the provider's never says a request, because one holds a password."""

from __future__ import annotations

import pytest

from millrace_infra.terraform_run import quiet_provider

pytestmark = pytest.mark.requirement("S-11")


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, {}),
        ({"TF_LOG": "TRACE"}, {"TF_LOG_CORE": "TRACE", "TF_LOG_PROVIDER": "INFO"}),
        ({"TF_LOG": "JSON"}, {"TF_LOG_CORE": "JSON", "TF_LOG_PROVIDER": "INFO"}),
        ({"TF_LOG": "WARN"}, {"TF_LOG_CORE": "WARN", "TF_LOG_PROVIDER": "WARN"}),
        ({"TF_LOG_PROVIDER": "debug"}, {"TF_LOG_PROVIDER": "INFO"}),
        ({"TF_LOG_CORE": "DEBUG"}, {"TF_LOG_CORE": "DEBUG"}),
        ({"TF_LOG": "TRACE", "TF_LOG_CORE": "ERROR"}, {"TF_LOG_CORE": "ERROR", "TF_LOG_PROVIDER": "INFO"}),
        ({"TF_LOG_PROVIDER_AWS": "TRACE", "TF_LOG_SDK_PROTO": "TRACE"}, {}),
    ],
)
def test_the_provider_is_held_at_what_says_no_requests(asked: dict[str, str], given: dict[str, str]) -> None:
    others = {"PATH": "/bin", "TF_LOG_PATH": "/tmp/terraform.log"}
    assert quiet_provider({**others, **asked}) == {**others, **given}
