"""The identity provider, found by OpenID Connect Discovery: authorization code flow with PKCE, state and nonce.

Source: OpenID Connect Core 1.0, Discovery 1.0 and RP-Initiated Logout 1.0; RFC 7636 (PKCE). Authlib does the flow;
what stands here is which answers are believed: the ID token's signature by a key of the provider's, of an asymmetric
kind, its issuer, its audience, its time, its nonce.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from starlette.requests import Request
from starlette.responses import Response

from millrace import telemetry
from millrace.dashboard.sign_in.bounded_answer import PLAIN, bounded
from millrace.dashboard.sign_in.provider_metadata import ProviderMistake, believed, way_of_secret
from millrace.errors import MillraceError, Unavailable

TIMEOUT_S: Final = 10.0
"""For a connection, and between two parts of an answer."""
STEP_TIMEOUT_S: Final = 20.0
"""For all requests of one step of a sign-in: an answer that comes byte by byte outlives the other bound."""
SCOPE: Final = "openid profile email"
DISCOVERY: Final = "/.well-known/openid-configuration"
NAMES: Final = ("name", "preferred_username", "email")
"""What a person is called on the page: the first of these that the provider says, else the subject."""
CLOCKS_APART_S: Final = 120
SAID_CHARACTERS_MAX: Final = 300
log = telemetry.logger(__name__)


class SignInRefused(MillraceError):
    """The provider does not let somebody in, or the sign-in is not one that this browser began."""


class IdentityProvider:
    """What the provider says of itself, and its keys, are asked for once in the life of an object. `issuer`: its
    address."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self._issuer, self._client_id = issuer, client_id
        self._client: Any = OAuth().register(
            "provider",
            client_id=client_id,
            client_secret=client_secret,
            client_kwargs={
                "scope": SCOPE,
                "code_challenge_method": "S256",
                "timeout": TIMEOUT_S,
                "headers": {"Accept-Encoding": PLAIN},
                "event_hooks": {"response": [bounded]},
            },
        )

    async def redirected(self, request: Request, back_url: str) -> Response:
        """To where the provider asks people who they are; state, nonce and verifier wait in the request's session."""
        await self._metadata()
        answer: Response = await self._said(self._client.authorize_redirect(request, back_url))
        return answer

    async def who(self, request: Request) -> str:
        """Name of the person whom the provider sent back. SignInRefused, ProviderMistake, Unavailable."""
        await self._check_begun(request)
        token = await self._token(request, (await self._metadata())["issuer"])
        claims = token.get("userinfo")
        if not claims or not claims.get("sub"):
            raise ProviderMistake("found an answer without an ID token, wanted one that says who it is")
        return _name(claims) or _name(await self._user_info(token, claims["sub"])) or _plain(claims["sub"])

    async def leaving_url(self, left_url: str) -> str:
        """Where a person signs out of the provider too; empty where it has no such place."""
        if "end_session_endpoint" not in await self._metadata():
            return ""
        found = await self._said(
            self._client.create_logout_url(post_logout_redirect_uri=left_url, client_id=self._client_id)
        )
        return str(found["url"])

    async def _check_begun(self, request: Request) -> None:
        """Before a word of the request is repeated: a link that somebody made up has no state that we gave."""
        state = request.query_params.get("state", "")
        if not await self._client.framework.get_state_data(request.session, state):
            raise SignInRefused("This sign-in took too long, or was begun in another window.")

    async def _token(self, request: Request, issuer: str) -> dict[str, Any]:
        """Access token and checked claims; keys that did not fit are asked for again the next time."""
        options = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": self._client_id},
        }
        exchange = self._client.authorize_access_token(request, claims_options=options, leeway=CLOCKS_APART_S)
        try:
            token: dict[str, Any] = await self._said(exchange)
        except ProviderMistake:
            self._client.server_metadata.pop("jwks", None)
            raise
        return token

    async def _metadata(self) -> dict[str, Any]:
        known: dict[str, Any] = self._client.server_metadata
        if not known:
            known.update(await self._said(self._discovered()))
        return known

    async def _discovered(self) -> dict[str, Any]:
        answer = await self._client.get(self._issuer.rstrip("/") + DISCOVERY, withhold_token=True)
        said = answer.raise_for_status().json()
        found = believed(said, self._issuer)
        self._client.client_kwargs["token_endpoint_auth_method"] = way_of_secret(said)
        return found

    async def _user_info(self, token: Any, subject: str) -> dict[str, Any]:
        """Names that the ID token left out. Another person's are not taken (Core 1.0, 5.3.2). Who it is is known
        already, so a failure here keeps nobody out."""
        if "userinfo_endpoint" not in await self._metadata():
            return {}
        try:
            found: dict[str, Any] = await self._said(self._client.userinfo(token=token))
        except MillraceError as error:
            log.warning("names_not_found", error=str(error))
            return {}
        return found if found.get("sub") == subject else {}

    async def _said(self, asking: Awaitable[Any]) -> Any:
        """What the provider answers, its failures being ours."""
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                return await asking
        except MillraceError:
            raise
        except OAuthError as error:
            raise SignInRefused(
                _plain(f"The identity provider says: {error.description or error.error}")
            ) from None
        except httpx2.HTTPStatusError as error:
            url = error.request.url.copy_with(query=None)
            raise Unavailable(f"{url}: {error.response.status_code}") from None
        except (httpx2.HTTPError, TimeoutError) as error:
            raise Unavailable(f"{self._issuer}: {type(error).__name__}") from None
        except Exception as error:  # an answer can be wrong in more ways than its readers have errors for
            raise ProviderMistake(_plain(f"{type(error).__name__}: {error}")) from None


def _name(claims: dict[str, Any]) -> str:
    """Empty when only the subject is there, which says nothing to a reader."""
    said = (_plain(claims[key]) for key in NAMES if isinstance(claims.get(key), str))
    return next(filter(None, said), "")


def _plain(said: str) -> str:
    """Words of the provider's that a page, a cookie and a line of the log can hold: no controls, no half characters."""
    return "".join(letter for letter in said if letter.isprintable()).strip()[:SAID_CHARACTERS_MAX]
