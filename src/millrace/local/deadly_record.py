"""Whether a worker died of a record: it writes down every attempt at a suspect before it makes it (law 12)."""

from __future__ import annotations

import psycopg

ATTEMPTED = "SELECT EXISTS (SELECT FROM death WHERE last_at > clock_timestamp() - %s * interval '1 second')"


def died_of_record(postgres_url: str, life_s: float) -> bool:
    """Whether some suspect was attempted in the last `life_s` and not survived; False when PostgreSQL is away."""
    try:
        with psycopg.connect(postgres_url, connect_timeout=2) as connection:
            row = connection.execute(ATTEMPTED, [life_s]).fetchone()
            return bool(row and row[0])
    except psycopg.OperationalError:
        return False
