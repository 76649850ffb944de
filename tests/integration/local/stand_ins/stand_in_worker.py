"""A worker that owns its shards and does nothing else."""

import sys
import time

import psycopg

from millrace.settings import load

settings = load(__import__("os").environ)
index, of = int(sys.argv[2]), int(sys.argv[4])
OWN = """
INSERT INTO shard (shard, owner, epoch, lease_until) VALUES (%s, %s, 1, now() + interval '3 s')
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until
"""
psycopg.connect(
    settings.postgres_url
).close()  # like the real one, it dies where there is no server to begin with
while True:
    try:
        with psycopg.connect(settings.postgres_url, autocommit=True) as connection:
            for shard in range(index, settings.shards, of):
                connection.execute(OWN, (shard, f"stand-in-{index}"))
    except psycopg.OperationalError as error:
        print(error, flush=True)
    time.sleep(0.2)
