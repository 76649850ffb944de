"""Is it ready: asked of the thing itself, never assumed from the passing of time."""

from __future__ import annotations

import urllib.error
import urllib.request

import psycopg

# What is asked for is on this machine: a proxy that the shell names, for the world outside, cannot reach it.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
OWNED = "SELECT count(*) FROM shard WHERE owner IS NOT NULL AND owner <> '' AND lease_until > now()"


def shards_owned(postgres_url: str) -> int:
    """Shards that a living worker owns now; 0 when PostgreSQL does not answer."""
    try:
        with psycopg.connect(postgres_url, connect_timeout=2) as connection:
            row = connection.execute(OWNED).fetchone()
            return int(row[0]) if row else 0
    except psycopg.OperationalError:
        return 0


def answers(url: str, *, token: str = "", timeout_s: float = 2.0, below: int = 300) -> bool:
    """Whether a GET is answered with a status below that one."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with DIRECTLY.open(urllib.request.Request(url, headers=headers), timeout=timeout_s) as response:
            return bool(response.status < below)
    except urllib.error.HTTPError as error:
        return error.code < below
    except OSError:
        return False
