"""The live page, on one screen of 1280 x 800: figures, a trend, latency, newest anomalies, rejects. On a phone
they stand one below the other.
"""

from __future__ import annotations

import time
from typing import Any

from nicegui import ui

from millrace.dashboard import figures
from millrace.dashboard.feed import Feed

TREND_SPAN_S = 300
TREND_POINTS = 600
TILES = ("rate", "lag", "visible", "durable", "stored", "rejected", "disk")
STYLE = """
<style>
:root{--page:#f3f5f8;--card:#fff;--ink:#16202e;--soft:#5d6878;--line:#dfe4ea}
.body--dark{color-scheme:dark;--page:#0f141b;--card:#182029;--ink:#e8edf4;--soft:#8b95a5;--line:#27313d}
body{background:var(--page)!important;color:var(--ink)}
.nicegui-content{padding:14px 18px!important;gap:12px!important;max-width:1680px;margin:0 auto}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.label{font-size:12px;color:var(--soft);line-height:1.2}
.figure{font-size:23px;font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums;white-space:nowrap}
.note{font-size:12px;color:var(--soft);white-space:nowrap}
.who{max-width:260px;overflow:hidden;text-overflow:ellipsis}
.title{font-size:13px;font-weight:600}
.dot{width:9px;height:9px;flex:none;border-radius:50%;background:#10b981}.dot.bad{background:#ef4444}
.row-line{display:grid;grid-template-columns:64px 110px minmax(0,1fr) 66px 110px;gap:14px;font-size:13px;
 padding:5px 0;border-top:1px solid var(--line);align-items:baseline;width:100%}
.row-line.clickable{cursor:pointer}.row-line.clickable:hover{background:rgba(59,130,246,.08)}
.row-line>*{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.num{text-align:right;font-variant-numeric:tabular-nums}
.bar{height:6px;border-radius:3px;background:#f59e0b}
.tiles{grid-template-columns:1.3fr .8fr 1.25fr 1.25fr 1fr 1fr 1.1fr}
.cards{grid-template-columns:minmax(0,2fr) minmax(0,1fr)}
.picker{width:520px;font-size:13px}
@media(max-width:1000px){
 .tiles{grid-template-columns:repeat(2,minmax(0,1fr))}.tiles>:first-child{grid-column:1/-1}.figure{font-size:18px}
 .cards{grid-template-columns:minmax(0,1fr)}.picker{width:100%}.trend-head{flex-wrap:wrap}
 .clock,.who{display:none}
 .row-line{grid-template-columns:56px minmax(0,1fr) 56px;gap:8px}
 .row-line>:nth-child(2),.row-line>:nth-child(5){display:none}
}
</style>
"""


class LivePage:
    """One browser's page. `refresh` once a second; the trend asks for its own tag."""

    def __init__(self, feed: Feed, *, who: str = "") -> None:
        """`who` is signed in; empty where people have no names."""
        self._feed, self._who = feed, who
        self._tag = ""
        self._shown_anomalies: list[str] = []
        self._shown_rejects: dict[str, int] = {}
        self._figures: dict[str, ui.label] = {}
        self._notes: dict[str, ui.label] = {}

    def build(self) -> None:
        """Lay the page out and begin to refresh it."""
        ui.add_head_html(STYLE)
        ui.dark_mode(None)
        ui.page_title("Millrace")
        self._header()
        self._tiles()
        with ui.element("div").classes("w-full grid gap-3 cards"):
            self._trend_card()
            self._latency_card()
            self._anomalies_card()
            self._rejects_card()
        ui.timer(1.0, self.refresh)
        ui.timer(0.1, self.refresh, once=True)

    # --- layout -----------------------------------------------------------------------------------

    def _header(self) -> None:
        with ui.row().classes("w-full items-center no-wrap gap-3"):
            ui.label("Millrace").style("font-size:19px;font-weight:700;letter-spacing:-.01em")
            self._dot = ui.element("div").classes("dot")
            self._status = ui.label("").classes("note")
            ui.space()
            self._clock = ui.label("").classes("note clock")
            if self._who:
                ui.label(self._who).classes("note who").mark("who")
                ui.link("Sign out", "/sign-out").classes("note")

    def _tiles(self) -> None:
        titles = {
            "rate": "Readings per second",
            "lag": "Lag",
            "visible": "Visible, p50 / p99",
            "durable": "Durable, p50 / p99",
            "stored": "Stored",
            "rejected": "Rejected",
            "disk": "Disk",
        }
        with ui.element("div").classes("w-full grid gap-3 tiles"):
            for name in TILES:
                with ui.element("div").classes("card"):
                    ui.label(titles[name]).classes("label")
                    self._figures[name] = ui.label("–").classes("figure").mark(f"figure-{name}")
                    if name == "rate":
                        self._spark = ui.echart(figures.spark([])).style("height:20px;width:100%")
                    else:
                        self._notes[name] = ui.label(" ").classes("note")

    def _trend_card(self) -> None:
        with ui.element("div").classes("card"):
            with ui.row().classes("w-full items-center no-wrap gap-2 trend-head"):
                ui.label("Trend").classes("title")
                ui.label(f"last {TREND_SPAN_S // 60} minutes").classes("note")
                ui.space()
                self._picker = (
                    ui.select([], with_input=True, on_change=self._picked)
                    .props(
                        'dense outlined options-dense hide-bottom-space input-debounce="150" aria-label="Tag"'
                    )
                    .classes("picker")
                    .mark("tag-picker")
                )
                self._picker.on("input-value", self._searched, throttle=0.2)
            self._trend = ui.echart(figures.trend(None, [])).style("height:258px;width:100%")

    def _latency_card(self) -> None:
        with ui.element("div").classes("card"):
            with ui.row().classes("w-full items-baseline no-wrap gap-2"):
                ui.label("Latency").classes("title")
                ui.label("received to visible, last 10 s, ms").classes("note")
            self._latency = ui.echart(figures.histogram([])).style("height:266px;width:100%")

    def _anomalies_card(self) -> None:
        with ui.element("div").classes("card").style("height:290px;overflow:auto"):
            ui.label("Newest anomalies").classes("title")
            self._anomalies = ui.column().classes("w-full gap-0").style("margin-top:6px")
            with self._anomalies:
                ui.label("None so far.").classes("note")

    def _rejects_card(self) -> None:
        with ui.element("div").classes("card").style("height:290px;overflow:auto"):
            ui.label("Rejects by reason").classes("title")
            self._rejects = ui.column().classes("w-full gap-2").style("margin-top:8px")
            with self._rejects:
                ui.label("None so far.").classes("note")

    # --- what changes -----------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Show what the feed holds; only what changed goes to the browser."""
        stats, trouble = self._feed.stats, self._feed.trouble
        if closed := stats.get("ingest_closed"):
            trouble = trouble or f"ingest has stopped: {closed['detail']}"
        self._dot.classes(remove="bad" if not trouble else "", add="bad" if trouble else "")
        self._status.set_text(trouble or f"running for {_duration(stats['uptime_s'])}")
        self._clock.set_text(time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))
        if stats:
            self._show_figures(stats)
            self._show_rejects(stats["rejected_by_reason"])
        self._show_anomalies()
        self._choose_first_tag()
        await self._show_trend()

    def _show_figures(self, stats: dict[str, Any]) -> None:
        visible, durable = stats["latency_ms"]["visible"], stats["latency_ms"]["durable"]
        disk = stats["disk"]
        for name, text in {
            "rate": figures.count(stats["rate"]),
            "lag": figures.milliseconds(stats["lag_ms"]),
            "visible": f"{figures.milliseconds(visible['p50'])} / {figures.milliseconds(visible['p99'])}",
            "durable": f"{figures.milliseconds(durable['p50'])} / {figures.milliseconds(durable['p99'])}",
            "stored": figures.count(stats["stored"]),
            "rejected": figures.count(stats["rejected"]),
            "disk": figures.gigabytes(disk.get("used_bytes")),
        }.items():
            self._figures[name].set_text(text)
        for name, text in {
            "lag": "behind the clock",
            "visible": "at the API",
            "durable": "committed",
            "stored": f"{figures.count(stats['archived'])} archived",
            "rejected": f"{figures.count(stats['duplicate'])} duplicates",
            "disk": figures.hours(disk.get("hours_left")),
        }.items():
            self._notes[name].set_text(text)
        self._replace(self._spark, figures.spark(list(self._feed.rates)))
        self._replace(self._latency, figures.histogram(stats["latency_histogram"]))

    def _show_rejects(self, by_reason: dict[str, int]) -> None:
        if by_reason == self._shown_rejects or not by_reason:
            return
        self._shown_rejects = dict(by_reason)
        most = max(by_reason.values())
        self._rejects.clear()
        with self._rejects:
            for reason, number in list(by_reason.items())[:12]:
                with ui.element("div").classes("w-full"):
                    with ui.row().classes("w-full no-wrap").style("font-size:13px"):
                        ui.label(reason.replace("_", " "))
                        ui.space()
                        ui.label(figures.count(number)).classes("num")
                    ui.element("div").classes("bar").style(f"width:{max(100 * number / most, 1):.0f}%")

    def _show_anomalies(self) -> None:
        rows = self._feed.anomalies[:25]
        shown = [f"{row['id']}{row['state']}{row['score']:.2f}" for row in rows]
        if shown == self._shown_anomalies or not rows:
            return
        self._shown_anomalies = shown
        self._anomalies.clear()
        with self._anomalies:
            self._anomaly_line("start", "detector", "tag", "score", "state", head=True)
            for row in rows:
                self._anomaly_row(row)

    def _anomaly_row(self, row: dict[str, Any]) -> None:
        line = self._anomaly_line(
            figures.clock(row["start_us"]),
            row["detector"].replace("_", " "),
            figures.below_enterprise(row["path"] or row["source"]),
            f"{row['score']:.2f} ×",
            row["state"].replace("_", " "),
        )
        with line:
            ui.tooltip(row["explanation"])
        if row["path"]:
            line.classes("clickable").on("click", lambda _, path=row["path"]: self._show_tag(path))

    @staticmethod
    def _anomaly_line(*cells: str, head: bool = False) -> ui.element:
        line = ui.element("div").classes("row-line" + (" note" if head else ""))
        with line:
            for at, cell in enumerate(cells):
                ui.label(cell).classes("num" if at == 3 else "")
        return line

    # --- the trend --------------------------------------------------------------------------------

    def _choose_first_tag(self) -> None:
        if self._tag or not self._feed.tags:
            return
        abnormal = [row["path"] for row in self._feed.anomalies if row["path"] in set(self._feed.tags)]
        self._show_tag(abnormal[0] if abnormal else self._feed.tags[0])

    def _show_tag(self, path: str) -> None:
        self._tag = path
        options = self._feed.matching("")
        self._picker.set_options([path, *(tag for tag in options if tag != path)], value=path)

    def _searched(self, event: Any) -> None:
        text = event.args if isinstance(event.args, str) else ""
        if not text or text == self._tag:
            return
        found = self._feed.matching(text)
        self._picker.set_options(found if self._tag in found else [*found, self._tag], value=self._tag)

    async def _picked(self, event: Any) -> None:
        if event.value and event.value != self._tag:
            self._tag = event.value
            await self._show_trend()

    async def _show_trend(self) -> None:
        if not self._tag:
            return
        from_us = int((time.time() - TREND_SPAN_S) * 1e6)
        history = await self._feed.history(self._tag, from_us, TREND_POINTS)
        if history is None:
            return
        marks = [row for row in self._feed.anomalies if row["path"] == self._tag and row["end_us"] >= from_us]
        self._replace(self._trend, figures.trend(history, marks))

    @staticmethod
    def _replace(chart: ui.echart, options: dict[str, Any]) -> None:
        if chart.options != options:
            chart.options.clear()
            chart.options.update(options)
            chart.update()


def _duration(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s" if minutes else f"{left} s"
