"""What each kind of machine measures: one table, readable by whoever knows the machine.

A value is made of what the machine does (`latent.py`), 0 … 1 each but the temperature, times the coefficients
here, plus a wave and the sensor's noise, rounded to its resolution:

    offset + run·RUN + load·LOAD + heat·HEAT + wear·WEAR·RUN + ambient·(AMBIENT - 20) + amplitude·wave + noise
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Waves: how a signal moves inside a machine cycle, or by itself.
STEADY: Final = 0
STROKE: Final = 1  # one push a cycle: hydraulic pressure, force
SWING: Final = 2  # there and back each cycle: an axis, a ram
HUNT: Final = 3  # a controller that hunts round its set point, period `wave_s`

MACHINE_STATES: Final = ("idle", "setup", "running", "fault")
IDLE, SETUP, RUNNING, FAULT = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One sensor. Coefficients in `unit`; `low`/`high` is what the sensor can say; limits raise alarms."""

    name: str
    unit: str
    period_s: float
    low: float = 0.0
    high: float
    resolution: float = 0.1
    offset: float = 0.0
    run: float = 0.0
    load: float = 0.0
    heat: float = 0.0
    wear: float = 0.0
    ambient: float = 0.0
    wave: int = STEADY
    amplitude: float = 0.0
    wave_s: float = 120.0
    noise: float = 0.0
    critical: bool = False  # kept raw in PostgreSQL: the slow signals that maintenance asks about
    limit_low: float | None = None
    limit_high: float | None = None
    kind: str = "float"
    per_cycle: float = 0.0  # counters: units a machine cycle
    per_kwh: float = 0.0  # meters: units a kilowatt hour at 1 kW of full load


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A kind of machine: `cycle_s` of one stroke, `heat_s` time constant of its warm-up."""

    name: str
    criticality: int
    cycle_s: float
    heat_s: float
    signals: tuple[Signal, ...]


def _state(period_s: float = 1.0) -> Signal:
    return Signal(name="state", unit="", period_s=period_s, high=3, resolution=1, kind="state")


def _count(name: str, unit: str, per_cycle: float, period_s: float = 5.0) -> Signal:
    return Signal(
        name=name, unit=unit, period_s=period_s, high=9e15, resolution=1, kind="integer", per_cycle=per_cycle
    )


def _energy(power_kw: float) -> Signal:
    return Signal(
        name="energy", unit="kWh", period_s=60, high=9e15, resolution=1, kind="integer", per_kwh=power_kw
    )


def _running(period_s: float = 1.0) -> Signal:
    return Signal(name="running", unit="", period_s=period_s, high=1, resolution=1, kind="bool")


PRESS: Final = Machine(
    name="press", criticality=1, cycle_s=4.0, heat_s=900, signals=(
        Signal(name="hydraulic-pressure", unit="bar", period_s=0.125, high=400, offset=12, run=25,
               amplitude=190, wave=STROKE, noise=0.8, limit_high=330),
        Signal(name="spindle-temp", unit="degC", period_s=1, low=-40, high=150, offset=21, heat=38,
               load=1.5, wear=6, ambient=0.8, noise=0.12, critical=True, limit_high=82),
        Signal(name="press-force", unit="kN", period_s=0.5, high=4000, resolution=1, run=40, amplitude=2400,
               wave=STROKE, noise=6),
        Signal(name="ram-position", unit="mm", period_s=2, low=-5, high=700, offset=10, amplitude=580,
               wave=SWING, noise=0.2),
        Signal(name="motor-current", unit="A", period_s=1, high=400, offset=3, run=45, load=120, noise=1.2),
        Signal(name="motor-temp", unit="degC", period_s=10, low=-40, high=180, offset=22, heat=52,
               ambient=0.7, noise=0.15, limit_high=110),
        Signal(name="oil-temp", unit="degC", period_s=10, low=-40, high=120, offset=23, heat=27,
               ambient=0.6, noise=0.1, limit_high=70),
        Signal(name="oil-level", unit="%", period_s=600, high=100, offset=78, wear=-9, noise=0.1,
               limit_low=55),
        Signal(name="vibration", unit="mm/s", period_s=1, high=50, resolution=0.01, offset=0.15, run=1.1,
               load=0.7, wear=1.9, noise=0.06, critical=True, limit_high=7.1),
        Signal(name="lubrication-flow", unit="l/min", period_s=60, high=20, resolution=0.01, run=4.2,
               wear=-0.4, noise=0.03),
        Signal(name="die-temp", unit="degC", period_s=5, low=-40, high=300, offset=24, heat=61, noise=0.3),
        _count("strokes", "1", 1.0), _running(), _state(),
        _energy(110.0),
    ),
)  # fmt: skip

PUMP: Final = Machine(
    name="pump", criticality=2, cycle_s=30.0, heat_s=600, signals=(
        Signal(name="discharge-pressure", unit="bar", period_s=0.2, high=16, resolution=0.01, offset=0.4,
               run=4.1, load=1.6, wear=-0.5, noise=0.03, limit_low=0.1, limit_high=9),
        Signal(name="flow", unit="m3/h", period_s=1, high=400, run=85, load=150, wear=-14, noise=1.1,
               critical=True, limit_high=340),
        Signal(name="suction-pressure", unit="bar", period_s=0.5, low=-1, high=6, resolution=0.01,
               offset=1.9, load=-0.5, noise=0.015),
        Signal(name="power", unit="kW", period_s=1, high=90, resolution=0.01, offset=0.2, run=14, load=31,
               wear=3, noise=0.2),
        Signal(name="speed", unit="1/min", period_s=1, high=3600, resolution=1, run=1450, load=30, noise=2),
        Signal(name="bearing-temp-de", unit="degC", period_s=10, low=-40, high=160, offset=21, heat=34,
               wear=12, ambient=0.8, noise=0.12, limit_high=90),
        Signal(name="bearing-temp-nde", unit="degC", period_s=10, low=-40, high=160, offset=21, heat=29,
               wear=8, ambient=0.8, noise=0.12, limit_high=90),
        Signal(name="vibration-de", unit="mm/s", period_s=1, high=50, resolution=0.01, offset=0.12, run=1.0,
               load=0.4, wear=2.3, noise=0.05, critical=True, limit_high=7.1),
        Signal(name="vibration-nde", unit="mm/s", period_s=5, high=50, resolution=0.01, offset=0.1, run=0.8,
               load=0.3, wear=1.5, noise=0.05, limit_high=7.1),
        Signal(name="seal-leakage", unit="ml/h", period_s=600, high=500, run=2, wear=22, noise=0.2,
               limit_high=120),
        Signal(name="motor-current", unit="A", period_s=5, high=180, offset=0.5, run=26, load=52,
               noise=0.4),
        Signal(name="tank-level", unit="%", period_s=60, high=100, offset=62, amplitude=9, wave=HUNT,
               wave_s=2700, noise=0.15, limit_low=20, limit_high=92),
        _running(), _state(),
    ),
)  # fmt: skip

OVEN: Final = Machine(
    name="oven", criticality=1, cycle_s=90.0, heat_s=1500, signals=(
        *(Signal(name=f"zone-{zone}-temp", unit="degC", period_s=period_s, low=-40, high=400, offset=24,
                 heat=140 + 9 * zone, amplitude=0.9, wave=HUNT, wave_s=80 + 15 * zone, noise=0.15,
                 critical=zone == 3, limit_high=225)
          for zone, period_s in ((1, 1), (2, 0.1), (3, 0.5), (4, 1))),
        Signal(name="gas-flow", unit="m3/h", period_s=1, high=120, run=11, load=46, amplitude=2.2,
               wave=HUNT, wave_s=95, noise=0.35),
        Signal(name="fan-speed", unit="1/min", period_s=5, high=1800, resolution=1, run=1180, noise=2),
        Signal(name="fan-vibration", unit="mm/s", period_s=5, high=50, resolution=0.01, offset=0.1, run=1.3,
               wear=1.7, noise=0.06, limit_high=7.1),
        Signal(name="exhaust-temp", unit="degC", period_s=10, low=-40, high=400, offset=24, heat=118,
               noise=0.4),
        Signal(name="exhaust-oxygen", unit="%", period_s=60, high=25, resolution=0.01, offset=20.6,
               load=-11, noise=0.05),
        Signal(name="belt-speed", unit="m/min", period_s=10, high=6, resolution=0.01, run=2.4, noise=0.01),
        Signal(name="humidity", unit="%", period_s=600, high=100, offset=38, heat=-24, noise=0.2),
        _count("parts", "1", 6.0, 10.0), _running(10.0), _state(),
    ),
)  # fmt: skip

ROBOT: Final = Machine(
    name="robot", criticality=2, cycle_s=12.0, heat_s=700, signals=(
        *(Signal(name=f"axis-{axis}-current", unit="A", period_s=period_s, low=-40, high=40,
                 resolution=0.01, offset=0.3, run=4.2 - 0.5 * axis, load=2.1, amplitude=5.5 - 0.7 * axis,
                 wave=SWING, wear=0.6, noise=0.06)
          for axis, period_s in ((1, 0.1), (2, 1), (3, 1), (4, 2), (5, 5), (6, 10))),
        Signal(name="axis-1-temp", unit="degC", period_s=10, low=-40, high=140, offset=22, heat=31,
               ambient=0.8, noise=0.1, limit_high=80),
        Signal(name="axis-2-temp", unit="degC", period_s=10, low=-40, high=140, offset=22, heat=35,
               ambient=0.8, noise=0.1, limit_high=80),
        Signal(name="gripper-pressure", unit="bar", period_s=1, high=10, resolution=0.01, offset=0.1,
               run=1.2, amplitude=4.6, wave=STROKE, noise=0.02, critical=True, limit_high=8),
        Signal(name="cycle-time", unit="s", period_s=10, high=120, resolution=0.01, offset=11.9, wear=1.6,
               noise=0.06, limit_high=18),
        Signal(name="controller-temp", unit="degC", period_s=60, low=-40, high=100, offset=27, heat=14,
               ambient=0.9, noise=0.1),
        _count("cycles", "1", 1.0), _running(), _state(),
    ),
)  # fmt: skip

CONVEYOR: Final = Machine(
    name="conveyor", criticality=3, cycle_s=8.0, heat_s=500, signals=(
        Signal(name="belt-speed", unit="m/s", period_s=0.5, high=3, resolution=0.001, run=0.85, load=0.02,
               noise=0.003, critical=True),
        Signal(name="motor-current", unit="A", period_s=1, high=60, resolution=0.01, offset=0.2, run=5.5,
               load=7.5, wear=1.5, noise=0.08),
        Signal(name="motor-temp", unit="degC", period_s=10, low=-40, high=160, offset=22, heat=33,
               ambient=0.8, noise=0.12, limit_high=95),
        Signal(name="gearbox-vibration", unit="mm/s", period_s=1, high=50, resolution=0.01, offset=0.1,
               run=0.8, wear=2.1, noise=0.05, critical=True, limit_high=7.1),
        Signal(name="belt-tension", unit="N", period_s=60, high=5000, resolution=1, offset=1850, wear=-230,
               noise=4, limit_low=1200),
        Signal(name="belt-drift", unit="mm", period_s=5, low=-50, high=50, amplitude=1.4, wave=HUNT,
               wave_s=240, noise=0.1, limit_low=-20, limit_high=20),
        Signal(name="load-mass", unit="kg", period_s=1, high=800, resolution=0.5, load=240, noise=3),
        _count("items", "1", 1.0), _running(), _state(), _energy(9.0),
    ),
)  # fmt: skip

COMPRESSOR: Final = Machine(
    name="compressor", criticality=1, cycle_s=20.0, heat_s=800, signals=(
        Signal(name="network-pressure", unit="bar", period_s=0.1, high=16, resolution=0.01, offset=6.2,
               run=0.9, amplitude=0.25, wave=HUNT, wave_s=45, noise=0.01, limit_low=5.2,
               limit_high=8.2),
        Signal(name="air-flow", unit="m3/min", period_s=1, high=60, resolution=0.01, run=9, load=24,
               noise=0.15),
        Signal(name="outlet-temp", unit="degC", period_s=5, low=-40, high=200, offset=22, heat=66,
               ambient=0.8, noise=0.15, critical=True, limit_high=110),
        Signal(name="oil-pressure", unit="bar", period_s=1, high=10, resolution=0.01, run=3.1, wear=-0.4,
               noise=0.02),
        Signal(name="power", unit="kW", period_s=1, high=250, run=38, load=115, wear=6, noise=0.5),
        Signal(name="vibration", unit="mm/s", period_s=1, high=50, resolution=0.01, offset=0.15, run=1.6,
               wear=2.0, noise=0.07, limit_high=9),
        Signal(name="dew-point", unit="degC", period_s=60, low=-80, high=40, offset=3.2, ambient=0.3,
               noise=0.1, limit_high=12),
        Signal(name="filter-difference", unit="mbar", period_s=600, high=1000, resolution=1, run=60,
               wear=240, noise=2, limit_high=450),
        _running(), _state(), _energy(132.0),
    ),
)  # fmt: skip

AREAS: Final[dict[str, tuple[Machine, ...]]] = {
    "press-shop": (PRESS, ROBOT, PRESS, CONVEYOR),
    "utilities": (PUMP, PUMP, COMPRESSOR, PUMP),
    "paint-shop": (OVEN, PUMP, CONVEYOR, ROBOT),
    "body-shop": (ROBOT, ROBOT, CONVEYOR),
    "assembly": (ROBOT, CONVEYOR, PRESS, CONVEYOR),
}
"""Machines along a line of each area, repeated until the line has its tags."""

SITES: Final = ("lyon", "turin", "gdansk", "leon")
