"""No compiled kernel outlives the source of a kernel that it calls, and none is compiled twice at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from millrace.kernel_cache import forget_stale, one_at_a_time

CALLED = "import numba\n@numba.njit(cache=True)\ndef inner():\n    return {value}\n"
CALLING = (
    "import numba\nfrom plant.called import inner\n"
    "@numba.njit(cache=True)\ndef outer():\n    return inner()\n"
)  # fmt: skip
ASK = (
    "from pathlib import Path; from millrace.kernel_cache import forget_stale; {forget}"
    "from plant.calling import outer; print(outer())"
)


def asked(folder: Path, *, forget: bool) -> str:
    code = ASK.format(forget=f"forget_stale(Path({str(folder / 'plant')!r}));" if forget else "")
    environ = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}src"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()


def test_a_change_in_a_called_kernel_reaches_those_that_call_it(tmp_path: Path) -> None:
    package = tmp_path / "plant"
    package.mkdir()
    (package / "calling.py").write_text(CALLING)
    (package / "called.py").write_text(CALLED.format(value=1))
    assert asked(tmp_path, forget=True) == "1"
    (package / "called.py").write_text(CALLED.format(value=22))
    assert asked(tmp_path, forget=False) == "1", "numba sees it by itself now: the stamp is not needed any more"
    assert asked(tmp_path, forget=True) == "22"


def test_what_is_younger_than_its_sources_stays(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "a.py").touch()
    compiled = tmp_path / "__pycache__" / "a.f-1.py311.nbi"
    compiled.touch()
    assert forget_stale(tmp_path) == 1  # never stamped: nobody knows
    compiled.touch()
    assert forget_stale(tmp_path) == 0
    assert compiled.exists()
    later_ns = (tmp_path / "__pycache__" / "kernels.stamp").stat().st_mtime_ns + 1
    os.utime(tmp_path / "a.py", ns=(later_ns, later_ns))
    assert forget_stale(tmp_path) == 1
    assert not compiled.exists()


def test_nothing_compiled_is_no_mistake(tmp_path: Path) -> None:
    assert forget_stale(tmp_path) == 0
    assert forget_stale(tmp_path / "away") == 0


def test_who_comes_while_another_one_compiles_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    inside = threading.Event()

    def second() -> None:
        with one_at_a_time(tmp_path):
            inside.set()

    thread = threading.Thread(target=second, daemon=True)
    with one_at_a_time(tmp_path):
        thread.start()
        assert not inside.wait(0.3)
    assert inside.wait(60)


def test_where_nothing_can_be_kept_nobody_waits(tmp_path: Path) -> None:
    with one_at_a_time(tmp_path / "away"), one_at_a_time(tmp_path / "away"):
        assert not (tmp_path / "away").exists()
