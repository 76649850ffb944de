"""Bounds what a request may say before its body: httptools gathers a header's bytes for as long as they come, and
before there is a token to look at.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from millrace.api.problems import MEDIA_TYPE, Problem

HEADER_BYTES_MAX: Final = 64 * 1024
"""Request line and headers: eight times what proxies pass on, and the longest query of ours fits."""
_TOLD: Final = (
    Problem(
        431,
        "header_too_large",
        f"a request line and headers of over {HEADER_BYTES_MAX} bytes",
        what_to_do="ask with fewer or shorter parameters and headers",
    )
    .response()
    .body
)
_ANSWER: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: %s\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (MEDIA_TYPE.encode(), len(_TOLD), _TOLD)
)


class BoundedHeaders(HttpToolsProtocol):
    """Uvicorn's protocol, which ends a connection whose request line, headers or trailers do not end. Only reads that
    begin nothing and bring no body are counted, so what is held is the bound and one read of the socket."""

    _vain_bytes = 0
    _went_on = False

    def data_received(self, data: bytes) -> None:
        self._went_on = False
        super().data_received(data)
        self._vain_bytes = 0 if self._went_on else self._vain_bytes + len(data)
        if self._vain_bytes <= HEADER_BYTES_MAX or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_ANSWER)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._went_on = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._went_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._went_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._went_on = True
        super().on_message_complete()
