"""Who is signed in, kept in the browser alone: the cookie is `<expiry>.<who>.<mac>`, the mac over both others.

Nothing is stored here, so every task of a service knows every session; a new key ends all of them.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable

SESSION_S = 12 * 3600
"""A shift and its hand-over."""
WHO_CHARACTERS_MAX = 120
COOKIE_CHARACTERS_MAX = 2_048


class Sessions:
    """Makes and checks cookies. `key` is the secret that they stand under, asked each time; `now_s` is wall time."""

    def __init__(self, key: Callable[[], str], now_s: Callable[[], float]) -> None:
        self._key, self._now_s = key, now_s

    def made(self, who: str) -> str:
        """A cookie for somebody; `who` may be empty where people have no names."""
        expiry = str(int(self._now_s()) + SESSION_S)
        named = urlsafe_b64encode(who[:WHO_CHARACTERS_MAX].encode()).decode()
        return f"{expiry}.{named}.{self._mac(expiry, named)}"

    def who(self, cookie: str) -> str | None:
        """Whose cookie it is; None when it is not one of ours, or over."""
        parts = cookie.split(".")
        if len(parts) != 3 or len(cookie) > COOKIE_CHARACTERS_MAX or not self._key():
            return None
        expiry, named, mac = parts
        if not hmac.compare_digest(mac.encode(), self._mac(expiry, named).encode()):
            return None
        return urlsafe_b64decode(named).decode() if int(expiry) > self._now_s() else None

    def _mac(self, expiry: str, named: str) -> str:
        key = hashlib.sha256(b"millrace dashboard session" + self._key().encode()).digest()
        return hmac.new(key, f"{expiry}.{named}".encode(), hashlib.sha256).hexdigest()
