"""An API that is ready and knows one figure."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from millrace.settings import load

settings = load(os.environ)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == f"Bearer {settings.api_token}"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"rate": 10_000, "stored": 7}).encode())

    def log_message(self, *words: object) -> None:
        pass


ThreadingHTTPServer((settings.api_host, settings.api_port), Handler).serve_forever()
