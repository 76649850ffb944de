"""What the identity provider says of itself (OpenID Connect Discovery 1.0), and which part of it is believed."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from millrace.errors import MillraceError

NEEDED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
OPTIONAL: Final = ("userinfo_endpoint", "end_session_endpoint")
SIGNED_BY: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Kinds of signature that only the provider can make: not `none`, none with a secret that we hold too."""


class ProviderMistake(MillraceError):
    """What the provider answered cannot be believed."""


def believed(said: Any, issuer: str) -> dict[str, Any]:
    """What a sign-in needs of it, checked; ProviderMistake.

    Nothing else is kept: Authlib takes the members for options of its client too, so a `verify`, a `proxy` or a
    `code_challenge_method` there would stand above ours.
    """
    if not isinstance(said, dict):
        raise ProviderMistake(f"found {type(said).__name__} in the place of what {issuer} says of itself")
    named = said.get("issuer")
    if not isinstance(named, str) or named.rstrip("/") != issuer.rstrip("/"):
        raise ProviderMistake(f"found the issuer {named!r} at its own address, wanted {issuer!r}")
    kinds = _texts(said, "id_token_signing_alg_values_supported") or ["RS256"]
    return {
        "issuer": named,
        **{key: _place(key, said.get(key), issuer) for key in NEEDED},
        **{key: _place(key, said[key], issuer) for key in OPTIONAL if said.get(key)},
        "id_token_signing_alg_values_supported": [kind for kind in kinds if kind in SIGNED_BY],
    }


def way_of_secret(said: Any) -> str:
    """How the token end point wants the client's secret: in a header (the default of the standard) or in the form."""
    ways = _texts(said, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"


def _place(key: str, url: Any, issuer: str) -> str:
    """Codes, secrets and keys go over TLS wherever the issuer does."""
    schemes = ("https",) if urlsplit(issuer).scheme == "https" else ("https", "http")
    if not isinstance(url, str) or urlsplit(url).scheme not in schemes or not urlsplit(url).hostname:
        raise ProviderMistake(f"found {url!r} as {key}, wanted an address that begins with {schemes[0]}://")
    return url


def _texts(said: dict[str, Any], key: str) -> list[str]:
    values = said.get(key) or []
    if not isinstance(values, list):
        raise ProviderMistake(f"found {values!r} as {key}, wanted a list")
    return values
