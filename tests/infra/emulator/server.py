"""Starts the emulator in a process of its own, on a port of 127.0.0.1 that the system chooses.

    python -m tests.infra.emulator.server

prints its address on one line and serves until its standard input closes, so it never outlives its parent.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "an-emulator-takes-any",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def emulator() -> Iterator[str]:
    """The address of a running emulator, for AWS_ENDPOINT_URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.infra.emulator.server"],
        cwd=ROOT,
        env=os.environ | CREDENTIALS | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "PYTHONPATH": "src:."},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, f"the emulator ended with code {process.wait()}"
        yield address
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def serve() -> None:
    import logging

    from moto.core.config import default_user_config
    from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    from tests.infra.emulator import additions
    from tests.infra.emulator.dispatch import Dispatcher

    additions.load()
    # Lambda is an inventory here and runs nothing: tests/infra/ministack/functions runs what the program put into it
    default_user_config["lambda"] = {"use_docker": False}
    logging.getLogger("werkzeug").setLevel(os.environ.get("EMULATOR_LOG", "ERROR"))
    moto = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, Dispatcher(moto), threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve()
