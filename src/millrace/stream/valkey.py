"""The stream on Valkey: one Valkey stream a shard, read from our own position, no consumer groups.

An append is one call of one script, whatever the number of records: one round trip, one sync of the
append-only file, and all or nothing. A refusal for memory comes before the first record; after a kill in
the middle of a write the server drops the whole call from its file's torn tail (the script's records are one
transaction there).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import valkey
from valkey.backoff import NoBackoff
from valkey.retry import Retry

from millrace.batch import Record
from millrace.errors import SettingError, StreamFull, StreamUnavailable
from millrace.names import PROJECT, stream_key
from millrace.protocols.control import is_control
from millrace.stream import durability
from millrace.stream.contract import Entry, Headroom, Span
from millrace.stream.position import SEQUENCE_MAX, id_of, position_of
from millrace.stream.valkey_read import BoundedRead

IDENTITY_KEY: Final = f"{PROJECT}:identity"
CALL_TIMEOUT_S: Final = 5.0
"""How long an append may take before its outcome counts as unknown: a sync's worst case is far below."""
WAIT_MAX_S: Final = 5.0
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MAX_S: Final = 1.0
APPEND_BYTES_MAX: Final = 64_000_000
"""One call's records together: the server does nothing else while it takes them."""

FULL: Final = "MILLRACEFULL"

# KEYS: a log per record. ARGV[1]: memory from which on nothing is taken (0: no bound; the call's own bytes
# count as used), then key and data by turns.
APPEND_SCRIPT: Final = f"""
local bound = tonumber(ARGV[1])
if bound > 0 then
  local used = tonumber(string.match(redis.call('INFO', 'memory'), 'used_memory:(%d+)'))
  if used >= bound then return redis.error_reply('{FULL} ' .. used .. ' of ' .. bound) end
end
local ids = {{}}
local newest = {{}}
for i = 1, #KEYS do
  local id = redis.call('XADD', KEYS[i], '*', 'k', ARGV[2 * i], 'd', ARGV[2 * i + 1])
  ids[i] = id
  newest[KEYS[i]] = id
end
for key, id in pairs(newest) do
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  if tonumber(seq) > {SEQUENCE_MAX // 2} then
    redis.call('XSETID', key, string.format('%.0f-0', tonumber(ms) + 1))
  end
end
return ids
"""


class ValkeyStream:
    """The stream contract over one Valkey server. Safe for use by several threads."""

    def __init__(self, url: str, *, shard_count: int, bytes_max: int) -> None:
        """Connect and check the server; SettingError when it is less durable than we promise.

        `url`: `unix:///path/to.sock`, `valkey://host:port/0` or `redis://…`.
        """
        self.shard_count = shard_count
        self._bytes_max = bytes_max
        self._keys = [stream_key(shard).encode() for shard in range(shard_count)]
        self._client = _client(url, bytes_max, timeout_s=CALL_TIMEOUT_S)
        self._reader = _client(url, bytes_max, timeout_s=CALL_TIMEOUT_S + WAIT_MAX_S)
        self._append = self._client.register_script(APPEND_SCRIPT)
        self._backoff_s = BACKOFF_FIRST_S
        self._bounded_read = BoundedRead(self._reader, self._keys)
        self._call(self._client.ping)

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Append in order, all or nothing; the positions. StreamFull, StreamUnavailable as the contract says.

        Control records alone (ticks, marks, model changes) may use the reserve above `bytes_max`.
        """
        if not entries:
            return []
        arguments, size = self._arguments(entries)
        if size > APPEND_BYTES_MAX:
            raise ValueError(f"append of {size} bytes, wanted at most {APPEND_BYTES_MAX} a call")
        keys = [self._keys[entry.shard] for entry in entries]
        ids: list[bytes] = self._call(lambda: self._append(keys=keys, args=arguments))
        return [position_of(entry_id) for entry_id in ids]

    def _arguments(self, entries: Sequence[Entry]) -> tuple[list[Any], int]:
        bound = 0 if all(is_control(entry.data) for entry in entries) else self._bytes_max
        arguments: list[Any] = [bound]
        size = 0
        for entry in entries:
            arguments += (entry.partition_key.encode(), entry.data)
            size += len(entry.data)
        return arguments, size

    def read(self, after: Mapping[int, int], *, count_max: int, wait_s: float) -> dict[int, list[Record]]:
        """Records after a position per shard, at most `count_max` a shard; a shard without any is absent.

        Waits at most `wait_s` for a first one. With the server away: pauses (at most `wait_s`), then raises.
        """
        wait_s = min(wait_s, WAIT_MAX_S)
        try:
            found: dict[int, list[Record]] = self._call(
                lambda: self._bounded_read(after, count_max=count_max, wait_s=wait_s)
            )
        except StreamUnavailable:
            time.sleep(min(wait_s, self._backoff_s))
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_MAX_S)
            raise
        return found

    def trim(self, shard: int, before: int) -> None:
        """Remove exactly the records before that position."""
        self._call(lambda: self._client.xtrim(self._keys[shard], minid=id_of(before), approximate=False))

    def span(self, shard: int) -> Span:
        """Oldest record there, newest id ever given."""
        try:
            info: dict[str, Any] = self._call(lambda: self._client.xinfo_stream(self._keys[shard]))
        except valkey.ResponseError as error:
            if "no such key" in str(error):
                return Span(0, 0)
            raise
        first = info["first-entry"]
        return Span(
            position_of(first[0]) if first else 0,
            position_of(info["last-generated-id"]),
            trimmed=int(info["entries-added"]) > int(info["length"]),
        )

    def headroom(self) -> Headroom:
        """Memory in use against the bound: what is held until trimmed, with the server's own overhead."""
        memory: dict[str, Any] = self._call(lambda: self._client.info("memory"))
        return Headroom(int(memory["used_memory"]), self._bytes_max)

    def identity(self) -> str | None:
        value: bytes | None = self._call(lambda: self._client.get(IDENTITY_KEY))
        return None if value is None else value.decode()

    def claim_identity(self, identity: str) -> None:
        """Write the identity; the server has synced it when this returns."""
        self._call(lambda: self._client.set(IDENTITY_KEY, identity))

    def close(self) -> None:
        self._client.close()
        self._reader.close()

    def _call(self, work: Callable[[], Any]) -> Any:
        """Do `work`; a server's trouble becomes an error of ours."""
        try:
            answer = work()
        except (valkey.ConnectionError, valkey.TimeoutError, OSError) as error:
            raise StreamUnavailable(f"stream server: {error or type(error).__name__}") from error
        except valkey.ResponseError as error:
            raise _refusal(error) from error
        self._backoff_s = BACKOFF_FIRST_S
        return answer


def _client(url: str, bytes_max: int, *, timeout_s: float) -> Any:
    """A client that never repeats a command by itself (a repeated append would be a second record), and that
    checks the server at each new connection: behind it may be another, or the same with other settings."""

    def connected(connection: Any) -> None:
        connection.on_connect()
        try:
            durability.check(*_state_of(connection), bytes_max=bytes_max)
        except SettingError:
            connection.disconnect()
            raise

    try:
        client = valkey.Valkey.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=CALL_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            retry_on_timeout=False,
            valkey_connect_func=connected,
        )
    except ValueError:
        raise SettingError(
            "MILLRACE_STREAM_URL", got="(hidden)", want="unix:///path.sock, valkey://host:port/0 or redis://…"
        ) from None
    client.set_response_callback("XREAD", _as_it_came)
    return client


def _state_of(connection: Any) -> tuple[dict[str, str], str]:
    """The server's configuration as far as it matters, and its role."""
    connection.send_command("CONFIG", "GET", *durability.WANTED, "maxmemory")
    pairs = [part.decode() for part in connection.read_response()]
    connection.send_command("INFO", "replication")
    role = re.search(rb"role:(\w+)", connection.read_response())
    return dict(zip(pairs[::2], pairs[1::2], strict=True)), role[1].decode() if role else "(unknown)"


def _as_it_came(answer: Any, **_: Any) -> Any:
    return answer or []


def _refusal(error: valkey.ResponseError) -> Exception:
    """What a server's error means for the caller."""
    text = str(error)
    if FULL in text:
        return StreamFull(
            f"stream holds {text.partition(FULL)[2].strip()} bytes; it is trimmed as segments close"
        )
    if isinstance(error, valkey.exceptions.OutOfMemoryError) or text.startswith("OOM"):
        return StreamFull(f"stream server is at its maxmemory: {text}")
    if text.startswith(("MISCONF", "READONLY", "NOPERM", "NOREPLICAS")):
        return StreamUnavailable(f"stream server refuses writes: {text}")
    return error
