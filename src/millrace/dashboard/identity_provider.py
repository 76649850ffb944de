"""The identity provider, found by OpenID Connect Discovery: authorization code flow with PKCE, state and nonce.

Source: OpenID Connect Core 1.0, Discovery 1.0 and RP-Initiated Logout 1.0; RFC 7636 (PKCE). Authlib does the flow;
what stands here is which answers are believed: the ID token's signature by a key of the provider's, of an asymmetric
kind, its issuer, its audience, its time, its nonce.
"""

from __future__ import annotations

from typing import Any, Final

import httpx2
from authlib.integrations.base_client import MismatchingStateError, OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from millrace.errors import MillraceError, Unavailable

TIMEOUT_S: Final = 10.0
SCOPE: Final = "openid profile email"
DISCOVERY: Final = "/.well-known/openid-configuration"
SIGNED_BY: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Kinds of signature that only the provider can make: not `none`, none with a secret that we hold too."""
NAMES: Final = ("name", "preferred_username", "email", "sub")
"""What a person is called on the page: the first of these that the provider says."""
CLOCKS_APART_S: Final = 120


class SignInRefused(MillraceError):
    """The provider does not let somebody in, or the sign-in is not one that this browser began."""


class ProviderMistake(MillraceError):
    """What the provider answered cannot be believed."""


class IdentityProvider:
    """What the provider says of itself, and its keys, are asked for once in the life of an object. `issuer`: its
    address."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self._issuer, self._client_id = issuer, client_id
        self._client: Any = OAuth().register(
            "provider",
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=issuer.rstrip("/") + DISCOVERY,
            client_kwargs={"scope": SCOPE, "code_challenge_method": "S256", "timeout": TIMEOUT_S},
        )

    async def redirected(self, request: Request, back_url: str) -> Response:
        """To where the provider asks people who they are; state, nonce and verifier wait in the request's session."""
        await self._metadata()
        answer: Response = await self._said(self._client.authorize_redirect(request, back_url))
        return answer

    async def who(self, request: Request) -> str:
        """Name of the person whom the provider sent back. SignInRefused, ProviderMistake, Unavailable."""
        issuer = (await self._metadata())["issuer"]
        options = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": self._client_id},
        }
        token = await self._said(
            self._client.authorize_access_token(request, claims_options=options, leeway=CLOCKS_APART_S)
        )
        claims = token.get("userinfo")
        if not claims or not claims.get("sub"):
            raise ProviderMistake("found an answer without an ID token, wanted one that says who it is")
        return _name(claims) or _name(await self._user_info(token, claims["sub"])) or str(claims["sub"])

    async def leaving_url(self, left_url: str) -> str:
        """Where a person signs out of the provider too; empty where it has no such place."""
        if "end_session_endpoint" not in await self._metadata():
            return ""
        found = await self._said(
            self._client.create_logout_url(post_logout_redirect_uri=left_url, client_id=self._client_id)
        )
        return str(found["url"])

    async def _metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._said(self._client.load_server_metadata())
        said = str(found.get("issuer", ""))
        if said.rstrip("/") != self._issuer.rstrip("/"):
            raise ProviderMistake(f"found the issuer {said!r} at its own address, wanted {self._issuer!r}")
        offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        found["id_token_signing_alg_values_supported"] = [kind for kind in offered if kind in SIGNED_BY]
        ways = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        way = "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"
        self._client.client_kwargs["token_endpoint_auth_method"] = way
        return found

    async def _user_info(self, token: Any, subject: str) -> dict[str, Any]:
        """Names that the ID token left out. Another person's are not taken (Core 1.0, 5.3.2)."""
        if "userinfo_endpoint" not in await self._metadata():
            return {}
        found: dict[str, Any] = await self._said(self._client.userinfo(token=token))
        return found if found.get("sub") == subject else {}

    async def _said(self, asking: Any) -> Any:
        """What the provider answers, its failures being ours."""
        try:
            return await asking
        except MismatchingStateError:
            raise SignInRefused("This sign-in took too long, or was begun in another window.") from None
        except OAuthError as error:
            raise SignInRefused(
                f"The identity provider says: {error.description or error.error}"[:300]
            ) from None
        except httpx2.HTTPStatusError as error:
            raise Unavailable(
                f"{error.request.url.copy_with(query=None)}: {error.response.status_code}"
            ) from None
        except httpx2.HTTPError as error:
            raise Unavailable(f"{self._issuer}: {type(error).__name__}") from None
        except (JoseError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ProviderMistake(f"{type(error).__name__}: {error}"[:300]) from None


def _name(claims: dict[str, Any]) -> str:
    """Empty when only the subject is there, which says nothing to a reader."""
    return next((str(claims[key]) for key in NAMES[:-1] if claims.get(key)), "")
