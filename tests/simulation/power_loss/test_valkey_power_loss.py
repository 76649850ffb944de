"""An append that was acknowledged survives every power cut, and the test would notice if it did not."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import valkey
from power_cut import Op, acknowledge, promises
from recorded_server import Recording, Server, build_recorder, free_port, valkey_binary

APPENDS = 120
CUTS = 6
SEED = 20_260_105


def server_on(
    folder: Path, sync: str, environment: dict[str, str] | None = None
) -> tuple[Server, valkey.Valkey]:
    port = free_port()
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": folder,
        "appendonly": "yes",
        "appendfsync": sync,
        "auto-aof-rewrite-percentage": 0,
        "save": "",
    }
    command = [valkey_binary(), *(str(x) for key, value in options.items() for x in (f"--{key}", value))]
    client = valkey.Valkey(port=port)

    def ready() -> bool:
        try:
            return bool(client.ping())
        except valkey.ConnectionError:
            return False
        except valkey.exceptions.BusyLoadingError:
            return False

    return Server(command, ready, environment=environment or {}, log=folder.parent / "valkey.log"), client


def record_appends(tmp_path: Path, sync: str) -> Recording:
    """A stream that was appended to under the recorder, each append acknowledged in the log when it was
    answered."""
    recorder = build_recorder(tmp_path)
    root = tmp_path / "live"
    root.mkdir()
    server, client = server_on(root, "always")
    server.start()
    client.xadd("s", {"d": "base"}, id="1-1")
    server.stop()
    recording = Recording.begin(root, tmp_path)
    server, client = server_on(root, sync, recording.environment(recorder))
    server.start()
    log = recording.open_log()
    try:
        for number in range(2, APPENDS + 2):
            client.xadd("s", {"d": b"x" * (number * 37 % 3_000)}, id=f"{number}-1")
            acknowledge(log, number)
    finally:
        server.kill()
    recording.finish()
    return recording


def lost_after_cut(recording: Recording, at: int, target: Path, rng: Random | None) -> set[object]:
    """Acknowledged appends that a server started on the remains does not give."""
    folder = recording.cut(at, target, rng)
    server, client = server_on(folder, "always")
    server.start()
    try:
        held = {int(entry_id.split(b"-")[0]) for entry_id, _ in client.xrange("s")}
    finally:
        server.kill()
    return set(promises(recording.entries, at)) - held


def cuts(recording: Recording) -> list[tuple[int, Random | None]]:
    """Random moments, some with unsynced bytes surviving in part, and the very end."""
    rng = Random(SEED)
    orders = [e.order for e in recording.entries]
    chosen = [(rng.choice(orders), Random(i) if i % 2 else None) for i in range(CUTS)]
    return [*chosen, (orders[-1] + 1, None)]


@pytest.mark.requirement("S-19")
def test_an_acknowledged_append_survives_every_power_cut(tmp_path: Path) -> None:
    recording = record_appends(tmp_path, "always")
    assert sum(e.op is Op.SYNC for e in recording.entries) >= APPENDS
    assert len(promises(recording.entries, 1 << 60)) == APPENDS
    for at, rng in cuts(recording):
        assert lost_after_cut(recording, at, tmp_path / "cut", rng) == set(), f"cut at {at}, seed {SEED}"


def test_a_stream_that_syncs_every_second_is_caught(tmp_path: Path) -> None:
    recording = record_appends(tmp_path, "everysec")
    assert any(lost_after_cut(recording, at, tmp_path / "cut", rng) for at, rng in cuts(recording)[::-1])
