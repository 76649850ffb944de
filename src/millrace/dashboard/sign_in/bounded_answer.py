"""An answer of the identity provider is small: one that is not is given up, before it fills the memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import httpx2

from millrace.dashboard.sign_in.provider_metadata import ProviderMistake

ANSWER_BYTES_MAX: Final = 256 * 1024
"""As it comes over the wire; what big providers say of themselves, or their keys, is a tenth of it."""

PLAIN: Final = "identity"


async def bounded(response: httpx2.Response) -> None:
    """A hook of the client, called before the body is read. A packed body, for which nobody asked, could unpack to a
    thousand times what came over the wire."""
    packed = response.headers.get("Content-Encoding", PLAIN)
    if packed != PLAIN:
        url = response.request.url.copy_with(query=None)
        raise ProviderMistake(f"{url}: found an answer packed as {packed!r}, wanted it as it is")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream, str(response.request.url.copy_with(query=None)))


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, url: str) -> None:
        self._stream, self._url = stream, url

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for part in self._stream:
            length += len(part)
            if length > ANSWER_BYTES_MAX:
                raise ProviderMistake(f"{self._url}: found an answer of more than {ANSWER_BYTES_MAX} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
