"""Asset models in files: what is read, what is refused, and that writing one loses nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.assets.duration import duration_us, shown
from millrace.assets.load import load, model_of
from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.errors import AssetModelError
from tests.unit.assets.model_writing import dump, dump_csv, dump_yaml

HIERARCHY = """\
version: 1
templates:
  pump:
    criticality: 2
    tags:
      flow: {unit: m3/h, period: 1s, range: [0, 400], low: 40, high: 350, class: critical}
      state: {kind: state, states: [idle, running], period: 10s}
sources:
  plc-9: {silence: 20s, description: utilities}
enterprises:
  acme:
    source: plc-1
    sites:
      lyon:
        areas:
          utilities:
            source: plc-9
            lines:
              line-1:
                criticality: 4
                equipment:
                  pump-01:
                    template: pump
                    tags:
                      flow: {high: 300, deadband: 2}
                      pressure: {unit: bar, period: 100ms}
                  pump-02: {template: pump, source: plc-2, tags: {state: null}}
"""


def read(tmp_path: Path, text: str, name: str = "model.yaml") -> AssetModel:
    path = tmp_path / name
    path.write_text(text)
    return load(path)


def mistakes_of(tmp_path: Path, text: str, name: str = "model.yaml") -> list[str]:
    with pytest.raises(AssetModelError) as caught:
        read(tmp_path, text, name)
    return [mistake.removeprefix(str(tmp_path / name)) for mistake in caught.value.mistakes]


@pytest.mark.requirement("S-21")
def test_a_tag_takes_from_its_equipment_its_template_and_the_levels_above(tmp_path: Path) -> None:
    model = read(tmp_path, HIERARCHY)
    tags = {tag.path.removeprefix("acme/lyon/utilities/line-1/"): tag for tag in model.tags}
    assert sorted(tags) == ["pump-01/flow", "pump-01/pressure", "pump-01/state", "pump-02/flow"]
    flow = tags["pump-01/flow"]
    assert (flow.high, flow.low, flow.deadband, flow.unit) == (300, 40, 2, "m3/h")
    assert (flow.source, flow.criticality, flow.data_class) == ("plc-9", 2, "critical")
    assert (flow.range_low, flow.range_high) == (0, 400)
    assert tags["pump-02/flow"].source == "plc-2"
    assert tags["pump-01/pressure"].period_us == 100_000
    assert tags["pump-01/state"].states == ("idle", "running")
    assert {source.name: source.silence_us for source in model.sources} == {"plc-2": 0, "plc-9": 20_000_000}


@pytest.mark.parametrize(
    ("nearest", "period_us"),
    [("tag", 1), ("equipment", 2), ("template-tag", 3), ("template", 4), ("line", 5)],
)
def test_the_nearest_of_several_values_wins(tmp_path: Path, nearest: str, period_us: int) -> None:
    order = ("tag", "equipment", "template-tag", "template", "line")
    periods = {
        name: f"{1_000 * (n + 1)}us" if n >= order.index(nearest) else None for n, name in enumerate(order)
    }
    said = {name: f"period: {value}, " if value else "" for name, value in periods.items()}
    text = (
        f"templates: {{t: {{{said['template']}tags: {{x: {{{said['template-tag']}unit: bar}}}}}}}}\n"
        f"enterprises: {{a: {{sites: {{b: {{areas: {{c: {{lines: {{d: {{{said['line']}source: s, "
        f"equipment: {{e: {{{said['equipment']}template: t, "
        f"tags: {{WRITTEN}}}}}}}}}}}}}}}}}}}}}}\n"
    )
    own = f"x: {{{said['tag']}class: critical}}" if nearest in ("tag", "line") else ""
    text = text.replace("WRITTEN", own)  # a template's tag that the equipment does not name, too
    (tag,) = read(tmp_path, text).tags
    assert tag.period_us == period_us * 1_000


@pytest.mark.requirement("S-21")
def test_every_mistake_is_told_with_its_line_and_not_the_first_only(tmp_path: Path) -> None:
    text = HIERARCHY.replace("unit: bar", "unti: bar").replace("low: 40", "low: 360").replace("100ms", "soon")
    text = text.replace("template: pump, source", "template: pmup, source")
    mistakes = mistakes_of(tmp_path, text)
    assert [mistake.split(":")[1] for mistake in mistakes] == ["25", "26", "26", "26", "27", "27"]
    assert "low 360 and high 300 are out of order" in mistakes[0]
    assert any("unknown key 'unti' at tag 'pressure'" in m and "(did you mean unit?)" in m for m in mistakes)
    assert any("period: found 'soon', wanted a length of time such as 100ms" in m for m in mistakes)
    assert any("unknown template 'pmup', wanted one of pump (did you mean pump?)" in m for m in mistakes)


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("a/b/c/d/e,plc,degC,1s,,,,", "has 5 names, wanted 6"),
        ("a/b//d/e/f,plc,degC,1s,,,,", "has an empty area"),
        ("a/b/c/d/e/f g,plc,degC,1s,,,,", "blank"),
        (f"a/b/c/d/e/{'f' * 260},plc,degC,1s,,,,", "wanted at most 256"),
        ("a/b/c/d/e/f,,degC,1s,,,,", "no source"),
        ("a/b/c/d/e/f,plc,,1s,,,,", "no unit at a float tag"),
        ("a/b/c/d/e/f,plc,degC,0s,,,,", "period 0s"),
        ("a/b/c/d/e/f,plc,degC,1s,80,70,,", "low 80 and high 70 are out of order"),
        ("a/b/c/d/e/f,plc,degC,1s,80,80,,", "out of order"),
        ("a/b/c/d/e/f,plc,degC,1s,nan,,,", "wanted a finite number"),
        ("a/b/c/d/e/f,plc,,1s,,,state,", "a state tag without states"),
        ("a/b/c/d/e/f,plc,,1s,,,state,on|on", "name one twice"),
        ("a/b/c/d/e/f,plc,degC,1s,,,float,on|off", "states at a float tag"),
        ("a/b/c/d/e/f,plc,degC,1s,,,flaot,", "(did you mean float?)"),
        ("a/b/c/d/e/f,plc,degC,1s", "4 cells, wanted 8"),
    ],
)
def test_a_wrong_row_says_what_was_found_and_wanted(tmp_path: Path, line: str, mistake: str) -> None:
    text = "path,source,unit,period,low,high,kind,states\na/b/c/d/e/ok,plc,degC,1s,,,,\n" + line + "\n"
    mistakes = mistakes_of(tmp_path, text, "model.csv")
    assert len(mistakes) == 1, mistakes
    assert mistakes[0].startswith(":3: ")
    assert mistake in mistakes[0]


def test_a_path_that_stands_twice_names_both_lines(tmp_path: Path) -> None:
    text = "path,source,unit\na/b/c/d/e/f,plc,degC\na/b/c/d/e/g,plc,degC\na/b/c/d/e/f,plc,degC\n"
    (mistake,) = mistakes_of(tmp_path, text, "model.csv")
    assert mistake.startswith(":4: ")
    assert "a second time, first at line 2" in mistake


def test_an_unknown_column_is_told_with_the_nearest_known_one(tmp_path: Path) -> None:
    mistakes = mistakes_of(tmp_path, "path,sorce,unit\n", "model.csv")
    assert any("unknown column 'sorce'" in m and "did you mean source?" in m for m in mistakes)


@pytest.mark.parametrize(
    ("text", "line", "mistake"),
    [
        ("", 1, "an empty file"),
        ("- a\n- b\n", 1, "not a mapping"),
        ("enterprises:\n  acme: &a {}\n  b: *a\n", 2, "anchor or alias"),
        ("enterprises:\n  acme: {sites: [\n", 3, "not YAML"),
        ("enterprises:\n  acme:\n    sites: {}\n  acme: {}\n", 4, "a second time, first at line 2"),
        ("a: " + "{b: " * 60 + "1" + "}" * 60, 1, "nested deeper"),
        ("version: 2\nenterprises: {}\n", 1, "version '2', wanted 1"),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, mistake: str
) -> None:
    mistakes = mistakes_of(tmp_path, text)
    assert any(m.startswith(f":{line}: ") and mistake in m for m in mistakes), mistakes


def test_bytes_that_are_not_utf8_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "model.csv"
    path.write_bytes(b"path,source,unit\na/b/c/d/e/f,plc,deg\xff\n")
    with pytest.raises(AssetModelError, match=r"model\.csv:2: bytes that are not UTF-8"):
        load(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(AssetModelError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_an_unknown_detector_is_refused_when_the_caller_knows_them(tmp_path: Path) -> None:
    path = tmp_path / "model.csv"
    path.write_text("path,source,unit,detectors\na/b/c/d/e/f,plc,degC,ewma|cumsum\n")
    assert load(path).tags[0].detectors == ("ewma", "cumsum")
    with pytest.raises(AssetModelError, match=r"unknown detector 'cumsum'.*did you mean cusum"):
        load(path, detectors=("ewma", "cusum"))


def test_thousands_of_mistakes_are_bounded(tmp_path: Path) -> None:
    text = "path,source,unit\n" + "x,plc,degC\n" * 5_000
    mistakes = mistakes_of(tmp_path, text, "model.csv")
    assert len(mistakes) == 201
    assert "more mistakes that are not shown" in mistakes[-1]


NAMES = st.text("abcdefgh-_.0123456789éß", min_size=1, max_size=8)
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20).map(str.strip)
NUMBERS = st.floats(-1e9, 1e9)


@st.composite
def tag_models(draw: st.DrawFn) -> TagModel:
    kind = draw(st.sampled_from(["float", "bool", "integer", "state"]))
    limits = sorted(draw(st.lists(NUMBERS, min_size=6, max_size=6, unique=True)))
    shown_limits = [value if draw(st.booleans()) else None for value in limits]
    state = st.text("abc xyz", min_size=1).map(str.strip).filter(bool)
    return TagModel(
        path="/".join(draw(st.lists(NAMES, min_size=6, max_size=6))),
        source=draw(NAMES),
        kind=kind,
        unit=draw(st.sampled_from(["degC", "m3/h", "%", "1", "µm", "null"])),
        data_class=draw(st.sampled_from(["standard", "critical"])),
        criticality=draw(st.integers(1, 5)),
        period_us=draw(st.integers(100, 10**9)),
        range_low=shown_limits[0], low_low=shown_limits[1], low=shown_limits[2],
        high=shown_limits[3], high_high=shown_limits[4], range_high=shown_limits[5],
        deadband=draw(st.floats(0, 10)),
        on_delay_us=draw(st.integers(0, 10**8)),
        off_delay_us=draw(st.integers(0, 10**8)),
        silence_us=draw(st.sampled_from([0, 10**10])),
        states=tuple(draw(st.lists(state, min_size=1, max_size=4, unique=True))) if kind == "state" else (),
        detectors=draw(st.sampled_from([None, ("ewma",), ("ewma", "limits")])),
        description=draw(TEXTS),
    )  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> AssetModel:
    tags = draw(st.lists(tag_models(), min_size=1, max_size=6, unique_by=lambda tag: tag.path))
    sources = {
        tag.source: SourceModel(
            name=tag.source, silence_us=draw(st.sampled_from([0, 20_000_000])), description=draw(TEXTS)
        )
        for tag in tags
    }
    return model_of(tags, sources)


@settings(max_examples=150)
@given(model=models(), suffix=st.sampled_from(["yaml", "csv"]))
def test_a_model_written_to_a_file_is_read_back_equal(
    model: AssetModel, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("model") / f"model.{suffix}"
    dump(model, path)
    assert load(path) == model, path.read_text()


@given(st.integers(1, 366 * 86_400_000_000))
def test_a_length_of_time_is_written_and_read_exactly(length_us: int) -> None:
    assert duration_us(shown(length_us)) == length_us


@pytest.mark.parametrize("write", [dump_csv, dump_yaml])
def test_a_hundred_thousand_tags_are_read_whole(write: object, tmp_path: Path) -> None:
    tags = [
        TagModel(path=f"acme/lyon/area/line-{n // 1000}/pump-{n // 10}/t-{n % 10}", source=f"plc-{n // 100}",
                 unit="degC", range_low=0.0, range_high=100.0, high=80.0)
        for n in range(100_000)
    ]  # fmt: skip
    model = model_of(tags)
    suffix = "csv" if write is dump_csv else "yaml"
    path = tmp_path / f"model.{suffix}"
    path.write_text(write(model))  # type: ignore[operator]
    began_s = time.perf_counter()
    assert load(path) == model
    print(f"100,000 tags from {suffix}: {time.perf_counter() - began_s:.2f} s")
