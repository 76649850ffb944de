"""What alembic runs: migrations are plain SQL, in the one transaction that `millrace.schema.migrate`
opened."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
