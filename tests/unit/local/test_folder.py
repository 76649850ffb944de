from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from millrace.errors import DataFolderError
from millrace.local import folder
from millrace.local.folder import DataFolder
from millrace.settings import load


def settings(home: Path, **more: str):  # type: ignore[no-untyped-def]
    return load({"MILLRACE_HOME": str(home), **{f"MILLRACE_{name}": value for name, value in more.items()}})


def opened(home: Path, **more: str) -> DataFolder:
    return DataFolder.open(settings(home, **more))


def contents(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_a_folder_keeps_its_identity(tmp_path: Path) -> None:
    first = opened(tmp_path / "home", SHARDS="4")
    first.close()
    second = opened(tmp_path / "home")
    assert second.identity == first.identity
    assert second.identity.shards == 4
    second.close()


def test_a_second_start_is_told_the_pid_and_the_page(tmp_path: Path) -> None:
    script = (
        "import sys, time; from millrace.local.folder import DataFolder; from millrace.settings import load\n"
        f"f = DataFolder.open(load({{'MILLRACE_HOME': {str(tmp_path / 'home')!r}}}))\n"
        "f.announce('http://127.0.0.1:8081'); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        assert folder.running_pid(tmp_path / "home") == other.pid
        with pytest.raises(
            DataFolderError, match=rf"already running .* pid {other.pid}, page at http://127.0.0.1:8081"
        ):
            opened(tmp_path / "home")
        other.kill()
    assert folder.running_pid(tmp_path / "home") == 0
    opened(tmp_path / "home").close()  # a killed owner holds nothing


def test_looking_who_runs_does_not_stand_in_the_way_of_a_start(tmp_path: Path) -> None:
    opened(tmp_path / "home").close()
    looking = threading.Event()

    def look() -> None:
        while not looking.is_set():
            folder.running_pid(tmp_path / "home")

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(50):
            opened(tmp_path / "home").close()
    finally:
        looking.set()
        for looker in lookers:
            looker.join()


def test_an_open_folder_is_not_reset(tmp_path: Path) -> None:
    held = opened(tmp_path / "home")
    with pytest.raises(DataFolderError, match="in use"):
        folder.remove(tmp_path / "home")
    held.close()
    folder.remove(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_reset_deletes_no_folder_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(DataFolderError, match="no data folder"):
        folder.remove(tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_folder_of_another_format_is_left_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    opened(home).close()
    content = json.loads((home / "folder.json").read_text()) | {"format": 99}
    (home / "folder.json").write_text(json.dumps(content))
    before = contents(home)
    with pytest.raises(DataFolderError, match="format 99, this Millrace reads format 1"):
        opened(home)
    assert contents(home) == before


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"format": 1}', '{"format": 1, "id": "x", "surprise": 1}']
)
def test_a_damaged_identity_is_named_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    home = tmp_path / "home"
    opened(home).close()
    (home / "folder.json").write_text(damage)
    before = contents(home)
    with pytest.raises(DataFolderError, match=r"damaged.*millrace reset"):
        opened(home)
    assert contents(home) == before


def test_data_without_an_identity_is_not_taken_over(tmp_path: Path) -> None:
    home = tmp_path / "home"
    opened(home).close()
    (home / "postgres").mkdir()
    (home / "folder.json").unlink()
    with pytest.raises(DataFolderError, match=r"holds data \(postgres\) but no folder.json"):
        opened(home)


def test_a_folder_with_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(DataFolderError, match=r"cat\.jpg"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cat.jpg"]


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(DataFolderError, match="MILLRACE_HOME"):
        opened(tmp_path / "home")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataFolderError, match="cannot be written"):
        opened(tmp_path / "home")
    tmp_path.chmod(0o700)


def test_a_full_disk_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "FREE_AT_START_BYTES", 2**62)
    with pytest.raises(DataFolderError, match="MiB are free"):
        opened(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_another_number_of_shards_is_refused_only_when_asked_for(tmp_path: Path) -> None:
    opened(tmp_path / "home", SHARDS="4").close()
    with pytest.raises(DataFolderError, match="4 shards, MILLRACE_SHARDS says 8"):
        opened(tmp_path / "home", SHARDS="8")
    opened(tmp_path / "home").close()


def test_the_token_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    data = opened(tmp_path / "home")
    token = data.token(settings(tmp_path / "home"))
    assert len(token) >= 32
    assert data.token(settings(tmp_path / "home")) == token
    assert (tmp_path / "home" / "token").stat().st_mode & 0o077 == 0
    assert data.token(settings(tmp_path / "home", API_TOKEN="mine")) == "mine"
    data.close()
