"""`millrace up` with stand-ins for the platform's own processes; the servers are real. Arguments: their
modules.
"""

import sys

from millrace import cli
from millrace.local import supervisor
from millrace.local.processes import Role


def roles(settings: object, shards: int, *, simulate: bool) -> list[Role]:
    return [Role(name, module, arguments) for name, module, arguments in ROLES]


ROLES = [
    (name, module, ("--index", name[-1], "--of", "1") if name.startswith("worker") else ())
    for name, module in (word.split("=") for word in sys.argv[1:])
]
supervisor.roles = roles
sys.argv = ["millrace", "up"]
cli.main()
