"""Which part of what a provider says of itself is believed."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.dashboard.sign_in.provider_metadata import SIGNED_BY, ProviderMistake, believed

pytestmark = pytest.mark.requirement("S-18")
ISSUER = "https://login.example.com"
SAID: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://login.example.com/authorize?tenant=1",
    "token_endpoint": "https://tokens.example.com/token",
    "jwks_uri": "https://keys.example.com/keys",
    "userinfo_endpoint": "https://login.example.com/me",
    "end_session_endpoint": "https://login.example.com/leave",
}
PLACES = [key for key in SAID if key != "issuer"]


def test_places_over_tls_are_believed_on_whatever_host() -> None:
    assert believed(SAID, ISSUER) == {**SAID, "id_token_signing_alg_values_supported": ["RS256"]}


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/x",
        "http://127.0.0.1/x",
        "/x",
        "https:///x",
        "file:///etc/passwd",
        "HTTP://a/b",
    ],
)
def test_no_place_without_tls_is_believed_when_the_issuer_has_it(key: str, url: str) -> None:
    with pytest.raises(ProviderMistake, match=f"as {key}, wanted an address that begins with https://"):
        believed(SAID | {key: url}, ISSUER)


@pytest.mark.parametrize(
    "issuer", ["https://login.example.com.evil.org", "http://login.example.com", "", None, ["x"]]
)
def test_another_issuer_is_not_believed(issuer: Any) -> None:
    with pytest.raises(ProviderMistake, match=r"wanted 'https://login\.example\.com'"):
        believed(SAID | {"issuer": issuer}, ISSUER)


def test_kinds_of_signature_that_others_can_make_are_left_out() -> None:
    offered = ["none", "HS256", "HS384", "HS512", *SIGNED_BY, "something"]
    found = believed(SAID | {"id_token_signing_alg_values_supported": offered}, ISSUER)
    assert found["id_token_signing_alg_values_supported"] == list(SIGNED_BY)
    assert not {kind for kind in SIGNED_BY if kind == "none" or kind.startswith("HS")}
