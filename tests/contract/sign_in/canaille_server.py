"""A real identity provider on this machine: Canaille, with one person, one group of nobody and our page as client.

python -m tests.contract.sign_in.canaille_server PORT PAGE_URL
"""

from __future__ import annotations

import datetime
import os
import sys
import uuid
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

PERSON, PASSWORD, NAME = "ada", "a-password-of-the-tests", "Ada Lovelace"
CLIENT_ID, CLIENT_SECRET = "millrace-dashboard", "a-secret-of-the-tests"


def configuration(port: int) -> dict[str, Any]:
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048)
    key.ensure_kid()
    return {
        "ENV_FILE": None,
        "SECRET_KEY": str(uuid.uuid4()),
        "PREFERRED_URL_SCHEME": "http",
        "SERVER_NAME": f"localhost:{port}",
        "CANAILLE": {
            "DATABASE": "memory",
            "JAVASCRIPT": False,
            "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"]}},
        },
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [key.as_dict(private=True)]},
    }


def people_and_clients(backend: Any, models: Any, page_url: str) -> None:
    person = models.User(
        user_name=PERSON, formatted_name=NAME, family_name="Lovelace", given_name="Ada",
        emails=["ada@example.org"], password=PASSWORD,
    )  # fmt: skip
    backend.save(person)
    client = models.Client(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        client_name="Millrace",
        client_uri=page_url,
        redirect_uris=[f"{page_url}/sign-in/back"],
        post_logout_redirect_uris=[f"{page_url}/signed-out"],
        grant_types=["authorization_code"],
        response_types=["code"],
        scope=["openid", "profile", "email"],
        token_endpoint_auth_method="client_secret_basic",
        client_id_issued_at=datetime.datetime.now(datetime.UTC),
    )
    backend.save(client)
    client.audience = [client]
    backend.save(client)


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Quiet."""


class Server(ThreadingMixIn, WSGIServer):
    """A browser opens connections ahead of its requests: one by one, the others would wait behind an idle one."""

    daemon_threads = True


def main(port: int, page_url: str) -> None:
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # of the provider: it speaks HTTP on this machine
    from canaille import create_app
    from canaille.app import models
    from canaille.backends import Backend

    app = create_app(config=configuration(port), env_file=".none")
    with app.app_context():
        people_and_clients(Backend.instance, models, page_url)
    make_server("localhost", port, app, server_class=Server, handler_class=Quiet).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
