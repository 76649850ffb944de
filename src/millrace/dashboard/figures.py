"""Figures as a person reads them, and charts as ECharts options. Pure; nothing here knows the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

GREY = "#8b95a5"
GRID = "rgba(139,149,165,.22)"
BLUE, AMBER, RED, GREEN = "#3b82f6", "#f59e0b", "#ef4444", "#10b981"
AXIS = {
    "axisLabel": {"color": GREY, "fontSize": 11, "hideOverlap": True},
    "axisLine": {"lineStyle": {"color": GRID}},
}


def count(value: float | None) -> str:
    """12,345 · 1.23 M."""
    if value is None:
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:.0f} ms"


def gigabytes(value: float | None) -> str:
    return "–" if value is None else f"{value / 1e9:.2f} GB"


def hours(value: float | None) -> str:
    if value is None:
        return "no estimate yet"
    return f"{value / 24:.0f} days left" if value > 72 else f"{value:.0f} h left"


def clock(ts_us: int) -> str:
    return datetime.fromtimestamp(ts_us / 1e6, UTC).strftime("%H:%M:%S")


def short_path(path: str) -> str:
    """The last three levels."""
    return "/".join(path.split("/")[-3:])


def below_enterprise(path: str) -> str:
    """Everything but the first level, which all tags of a page share; a name without levels as it is."""
    return path.partition("/")[2] or path


def grid(left: int = 46, bottom: int = 24) -> dict[str, Any]:
    return {"left": left, "right": 14, "top": 14, "bottom": bottom}


def histogram(buckets: list[dict[str, float]]) -> dict[str, Any]:
    """Share of readings per bucket of latency."""
    total = sum(bucket["count"] for bucket in buckets) or 1.0
    used = [bucket for bucket in buckets if bucket["to_ms"] <= 1000 or bucket["count"]]
    bars = [
        {
            "value": round(100 * bucket["count"] / total, 2),
            "itemStyle": {"color": BLUE if bucket["to_ms"] <= 500 else RED},
        }
        for bucket in used
    ]
    return {
        "animation": False,
        "grid": grid(),
        "tooltip": {"trigger": "axis", "valueFormatter": None},
        "xAxis": {
            "type": "category",
            "data": [_edge(bucket["to_ms"]) for bucket in used],
            "name": "",
            **AXIS,
            "axisTick": {"show": False},
        },
        "yAxis": {
            "type": "value",
            "axisLabel": {"color": GREY, "fontSize": 11, "formatter": "{value} %"},
            "splitLine": {"lineStyle": {"color": GRID}},
        },
        "series": [{"type": "bar", "data": bars, "barCategoryGap": "25%", "name": "share of readings, %"}],
    }


def _edge(to_ms: float) -> str:
    return f"≤{to_ms:.0f}" if to_ms < 1000 else f"≤{to_ms / 1000:.0f} s"


def spark(values: list[float]) -> dict[str, Any]:
    """A line without axes."""
    return {
        "animation": False,
        "grid": {"left": 0, "right": 0, "top": 4, "bottom": 0},
        "xAxis": {"type": "category", "show": False, "data": list(range(len(values)))},
        "yAxis": {"type": "value", "show": False, "min": 0},
        "series": [
            {
                "type": "line",
                "data": values,
                "showSymbol": False,
                "lineStyle": {"width": 1.5, "color": BLUE},
                "areaStyle": {"color": BLUE, "opacity": 0.12},
            }
        ],
    }


def trend(history: dict[str, Any] | None, anomalies: list[dict[str, Any]]) -> dict[str, Any]:
    """A tag's line, the intervals that a detector marks shaded."""
    points = [] if history is None else list(zip(history["ts_us"], history["value"], strict=True))
    marks = [
        [
            {"xAxis": row["start_us"] / 1000, "name": row["detector"]},
            {"xAxis": max(row["end_us"], row["start_us"] + 500_000) / 1000},
        ]
        for row in anomalies
    ]
    return {
        "animation": False,
        "useUTC": True,
        "grid": grid(left=58, bottom=26) | {"top": 30},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "time", **AXIS, "splitLine": {"show": False}},
        "yAxis": {
            "type": "value",
            "scale": True,
            "name": (history or {}).get("unit", ""),
            "nameTextStyle": {"color": GREY, "align": "right"},
            "nameGap": 12,
            "axisLabel": {"color": GREY, "fontSize": 11},
            "splitLine": {"lineStyle": {"color": GRID}},
        },
        "series": [
            {
                "type": "line",
                "name": short_path((history or {}).get("tag", "")),
                "data": [[ts_us / 1000, value] for ts_us, value in points],
                "showSymbol": len(points) < 40,
                "symbolSize": 4,
                "connectNulls": False,
                "lineStyle": {"width": 1.5, "color": BLUE},
                "itemStyle": {"color": BLUE},
                "markArea": {
                    "silent": True,
                    "itemStyle": {"color": "rgba(239,68,68,.14)"},
                    "label": {"show": False},
                    "data": marks,
                },
            }
        ],
    }
