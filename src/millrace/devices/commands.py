"""Orders to a running simulator: small files in `<home>/run/simulator/`, written whole, read once, then
removed.

The simulator writes its answer beside it (`<name>.answer`), so that whoever asked learns what was struck.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import Final

import msgspec

from millrace.clock import SECOND_US
from millrace.devices.faults import Fault, Faults
from millrace.errors import DataFolderError, MillraceError, SettingError, nearest

COMMAND_BYTES_MAX: Final = 64_000
COMMANDS_PER_POLL_MAX: Final = 20
WAITING_MAX: Final = 100
ANSWER_AGE_S_MAX: Final = 600.0


class FaultOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault as ordered: `after_s` from when the simulator reads it. `kind` and `pattern` as in `Fault`."""

    kind: str
    pattern: str
    after_s: float = 0.0
    duration_s: float = 120.0
    magnitude: float = 8.0
    period_s: float = 30.0
    first_only: bool = False  # of all machines that the pattern means, only the plant's first


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the simulator is to do: heal everything, then these faults."""

    faults: tuple[FaultOrder, ...] = ()
    clear: bool = False


class OrderRefused(MillraceError):
    """In the simulator's own words, with the exit code of its error: 2 for a name that nothing has."""

    def __init__(self, words: str, exit_code: int) -> None:
        super().__init__(words)
        self.exit_code = exit_code


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it was begun: what a label says."""

    kind: str
    pattern: str
    start_us: int
    end_us: int
    magnitude: float
    tags: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command; `error` empty when all went well, else nothing of it was done. `plant_age_s`: since
    it sent its first reading."""

    error: str = ""
    exit_code: int = MillraceError.exit_code  # of an error
    struck: tuple[Struck, ...] = ()
    plant_age_s: float = 0.0


def _preset(kind: str, pattern: str, duration_s: float, magnitude: float = 8.0) -> FaultOrder:
    """A fault of the plant's first machine of that name."""
    return FaultOrder(kind=kind, pattern=pattern, duration_s=duration_s, magnitude=magnitude, first_only=True)


# What "break a pump" means: a machine kind's typical failures. The pattern is the first such machine of the
# plant.
PRESETS: Final[dict[str, tuple[FaultOrder, ...]]] = {
    "pump": (
        # knocks at once (its other end speaks only every five seconds), wears over two minutes
        _preset("spike", "*/pump-01/vibration-de", 120, 30),
        _preset("bearing-wear", "*/pump-01", 120, 60),
        _preset("drift", "*/pump-01/flow", 120, -12),
    ),
    "press": (_preset("drift", "*/press-01/hydraulic-pressure", 180, -6),),
    "oven": (_preset("step", "*/oven-01/zone-2-temp", 180, 30),),
    "robot": (_preset("oscillation", "*/robot-01/axis-1-current", 120, 12),),
    "conveyor": (_preset("stuck", "*/conveyor-01/belt-speed", 180),),
    "compressor": (_preset("step", "*/compressor-01/network-pressure", 120, -15),),
    "gateway": (_preset("source-dropout", "*/pump-01/*", 60),),
}


def orders_of(name: str, *, equipment: str = "", duration_s: float | None = None) -> tuple[FaultOrder, ...]:
    """Orders of a preset (`pump`) or of one fault kind (`stuck`, which needs `equipment`: a path or
    pattern)."""
    from millrace.devices.faults import FAULTS

    if name in PRESETS:
        orders = tuple(_moved(order, equipment) for order in PRESETS[name])
    elif name in FAULTS and equipment:
        orders = (FaultOrder(kind=name, pattern=equipment),)
    elif name in FAULTS:
        raise SettingError("--equipment", got="nothing", want=f"a path or pattern that {name!r} is to strike")
    else:
        known = (*PRESETS, *FAULTS)
        raise SettingError("--fault", got=name, want=f"one of {', '.join(known)}{nearest(name, known)}")
    if duration_s is None:
        return orders
    return tuple(msgspec.structs.replace(order, duration_s=duration_s) for order in orders)


def _moved(order: FaultOrder, equipment: str) -> FaultOrder:
    """The same on another machine; a preset's own tag, where it names one, stays."""
    if not equipment:
        return order
    tag = order.pattern.split("/", 2)[2:]
    pattern = "/".join((equipment.rstrip("/"), *tag))
    return msgspec.structs.replace(order, pattern=pattern, first_only=False)


def folder_of(home: Path) -> Path:
    return home / "run" / "simulator"


def order(home: Path, command: Command, *, wait_s: float = 5.0) -> Answer:
    """Hand a command to the running simulator and wait for its answer.

    DataFolderError when none takes it in time; OrderRefused, in its words, when it refused.
    """
    folder = folder_of(home)
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob("*.json"))) >= WAITING_MAX:
        raise DataFolderError(
            f"{WAITING_MAX} commands wait in {folder} and nobody reads them; is a simulator running?"
        )
    name = f"{time.time_ns():020}-{secrets.token_hex(4)}"
    path, answer_path = folder / f"{name}.json", folder / f"{name}.answer"
    _write(path, msgspec.json.encode(command))
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        if answer_path.exists():
            answer = msgspec.json.decode(answer_path.read_bytes(), type=Answer)
            answer_path.unlink()
            if answer.error:
                raise OrderRefused(answer.error, answer.exit_code)
            return answer
        time.sleep(0.05)
    path.unlink(missing_ok=True)
    raise DataFolderError(
        f"no simulator answered within {wait_s:g} s; start one with `millrace up` or `make run`"
    )


class Inbox:
    """The simulator's side: reads commands, carries them out on its faults, answers."""

    def __init__(self, home: Path, faults: Faults) -> None:
        self._folder = folder_of(home)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._faults = faults
        for stale in self._folder.glob("*"):  # orders to an earlier life
            stale.unlink(missing_ok=True)

    def poll(self, now_us: int) -> int:
        """Carry out what waits; how many commands."""
        waiting = sorted(self._folder.glob("*.json"))[:COMMANDS_PER_POLL_MAX]
        for path in waiting:
            answer = self._carry_out(path, now_us)
            _write(path.with_suffix(".answer"), msgspec.json.encode(answer))
            path.unlink(missing_ok=True)
        self._forget_old_answers()
        return len(waiting)

    def _carry_out(self, path: Path, now_us: int) -> Answer:
        try:
            if path.stat().st_size > COMMAND_BYTES_MAX:
                return Answer(
                    error=f"a command of {path.stat().st_size} bytes, wanted at most {COMMAND_BYTES_MAX}"
                )
            command = msgspec.json.decode(path.read_bytes(), type=Command)
            with self._faults.all_or_none():
                if command.clear:
                    self._faults.clear()
                struck = tuple(begin(self._faults, order, now_us) for order in command.faults)
            return Answer(struck=struck, plant_age_s=self._faults.plant_age_s(now_us))
        except MillraceError as error:
            return Answer(error=str(error), exit_code=error.exit_code)
        except (msgspec.DecodeError, OSError) as error:
            return Answer(error=str(error))

    def _forget_old_answers(self) -> None:
        old_s = time.time() - ANSWER_AGE_S_MAX
        for path in self._folder.glob("*.answer"):
            with contextlib.suppress(FileNotFoundError):  # whoever asked has read it meanwhile
                if path.stat().st_mtime < old_s:
                    path.unlink()


def begin(faults: Faults, order: FaultOrder, now_us: int) -> Struck:
    """Add an ordered fault; its label."""
    fault = Fault(
        kind=order.kind,
        pattern=faults.first_machine(order.pattern) if order.first_only else order.pattern,
        start_us=now_us + round(order.after_s * SECOND_US),
        duration_us=round(order.duration_s * SECOND_US),
        magnitude=order.magnitude,
        period_s=order.period_s,
    )
    tags = faults.add(fault)
    return Struck(
        kind=fault.kind,
        pattern=fault.pattern,
        start_us=fault.start_us,
        end_us=fault.end_us,
        magnitude=fault.magnitude,
        tags=tags,
    )


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: a reader never sees half a file."""
    aside = path.with_suffix(".aside")
    aside.write_bytes(data)
    os.replace(aside, path)
