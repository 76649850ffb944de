"""Who may do what: a function for each program, a line for each noun that it uses.

A noun says what may be done with it; these are the only places where a program is given any of it.
"""

from __future__ import annotations

from millrace.names import DATABASE_MIGRATE, SERVICE_API, SERVICE_WORKER
from millrace_infra.policy import Role
from millrace_infra.secrets import ExistingSecrets
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.sinks.archive import Archive
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.sinks.redis import Redis
from millrace_infra.stream import Stream


def worker(
    role: Role,
    *,
    stream: Stream,
    archive: Archive,
    cache: Redis,
    storage: SharedStorage,
    secrets: ExistingSecrets,
) -> None:
    role.allow("stream", *stream.read(), *stream.leases())
    role.allow("archive", *archive.write())
    role.allow("secrets", secrets.read("database_user"), secrets.decrypt("database_user"))
    role.allow("cache", cache.connect(SERVICE_WORKER))
    role.allow("shared-storage", storage.mount(SERVICE_WORKER))


def api(
    role: Role,
    *,
    stream: Stream,
    archive: Archive,
    cache: Redis,
    storage: SharedStorage,
    secrets: ExistingSecrets,
) -> None:
    read = ("database_user", "api_signing")
    role.allow("stream", *stream.put())
    role.allow("archive", *archive.read())
    role.allow("secrets", secrets.read(*read), secrets.decrypt(*read))
    role.allow("cache", cache.connect(SERVICE_API))
    role.allow("shared-storage", storage.mount(SERVICE_API))


def dashboard(role: Role, *, secrets: ExistingSecrets) -> None:
    role.allow("secrets", secrets.read("dashboard_oidc"), secrets.decrypt("dashboard_oidc"))


def migrate(role: Role, *, database: Aurora, secrets: ExistingSecrets) -> None:
    role.allow("database", database.connect(DATABASE_MIGRATE))
    role.allow("master", secrets.read("database_master"), secrets.decrypt("database_master"))
