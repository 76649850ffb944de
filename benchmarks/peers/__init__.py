"""The same job on other engines: NDJSON file -> per-tag EWMA anomaly -> 1 s rollup -> PostgreSQL. See
README.md."""
