"""Each wrong reading has its own reason, costs no other reading, and keeps its place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import Reason, ValueKind
from millrace.errors import ProtocolError
from millrace.protocols import Limits, explain, json_event, json_text, reading_json
from millrace.protocols.columns import Columns
from millrace.protocols.json_reading import decode_one, diagnose

T = 1_767_600_000_000_000
LIMITS = Limits()
GOOD = b'{"tag":"a/b","ts":%d,"value":1.5}' % T


def line(tag: str = '"a/b"', ts: object = T, value: object = "1.5", more: str = "") -> bytes:
    return f'{{"tag":{tag},"ts":{ts},"value":{value}{more}}}'.encode()


def decode(body: bytes, content: json_text.Content = "ndjson", limits: Limits = LIMITS) -> Columns:
    return json_text.decode(body, content=content, limits=limits, received_ts_us=T)


WRONG = [
    pytest.param(b"xx", Reason.BAD_SYNTAX, id="no_json"),
    pytest.param(GOOD[:-1], Reason.BAD_SYNTAX, id="cut"),
    pytest.param(GOOD + b",", Reason.BAD_SYNTAX, id="comma_after"),
    pytest.param(GOOD + GOOD, Reason.BAD_SYNTAX, id="two_on_a_line"),
    pytest.param(GOOD.replace(b"a/b", b"a\xffb"), Reason.BAD_ENCODING, id="no_utf8"),
    pytest.param(line(tag='"\\ud800"'), Reason.BAD_ENCODING, id="lone_surrogate"),
    pytest.param(b"[1]", Reason.BAD_SCHEMA, id="array"),
    pytest.param(b"null", Reason.BAD_SCHEMA, id="null_reading"),
    pytest.param(b'{"tag":"a","value":1}', Reason.BAD_SCHEMA, id="no_time_field"),
    pytest.param(b'{"tag":"a","ts":1}', Reason.BAD_SCHEMA, id="no_value_field"),
    pytest.param(line(more=',"units":"C"'), Reason.BAD_SCHEMA, id="unknown_field"),
    pytest.param(line(more=',"unit":7'), Reason.BAD_SCHEMA, id="unit_a_number"),
    pytest.param(line(more=',"unit":null'), Reason.BAD_SCHEMA, id="unit_null"),
    pytest.param(line(more=',"unit":"' + "x" * 33 + '"'), Reason.BAD_SCHEMA, id="long_unit"),
    pytest.param(line(more=',"unit":"' + "°" * 17 + '"'), Reason.BAD_SCHEMA, id="long_unit_in_bytes"),
    pytest.param(line(more=',"unit":"C\\u0007"'), Reason.BAD_SCHEMA, id="control_character_in_unit"),
    pytest.param(line(more=',"unit":"\\ud800"'), Reason.BAD_ENCODING, id="lone_surrogate_in_unit"),
    pytest.param(line(tag="7"), Reason.BAD_SCHEMA, id="tag_a_number"),
    pytest.param(line(ts="1.5"), Reason.BAD_SCHEMA, id="time_a_fraction"),
    pytest.param(line(ts="null"), Reason.BAD_SCHEMA, id="time_null"),
    pytest.param(line(ts="true"), Reason.BAD_SCHEMA, id="time_a_bool"),
    pytest.param(line(value="[1]"), Reason.BAD_SCHEMA, id="value_an_array"),
    pytest.param(line(value='{"a":1}'), Reason.BAD_SCHEMA, id="value_an_object"),
    pytest.param(line(value='"' + "x" * 257 + '"'), Reason.BAD_SCHEMA, id="state_too_long"),
    pytest.param(line(more=',"quality":"good"'), Reason.BAD_SCHEMA, id="quality_a_text"),
    pytest.param(line(tag='""'), Reason.BAD_TAG, id="empty_tag"),
    pytest.param(line(tag='"a//b"'), Reason.BAD_TAG, id="empty_segment"),
    pytest.param(line(tag='"/a"'), Reason.BAD_TAG, id="leading_slash"),
    pytest.param(line(tag='"a/../b"'), Reason.BAD_TAG, id="dots"),
    pytest.param(line(tag='"a/*"'), Reason.BAD_TAG, id="pattern"),
    pytest.param(line(tag='"a\\u0007b"'), Reason.BAD_TAG, id="control_character"),
    pytest.param(line(tag='"' + "x" * 257 + '"'), Reason.TAG_TOO_LONG, id="long_tag"),
    pytest.param(line(tag='"' + "é" * 129 + '"'), Reason.TAG_TOO_LONG, id="long_tag_in_bytes"),
    pytest.param(line(ts='"yesterday"'), Reason.BAD_TIME, id="text_no_time"),
    pytest.param(line(ts='"2026-01-05T08:00:00"'), Reason.BAD_TIME, id="time_without_offset"),
    pytest.param(line(ts='"2026-02-30T08:00:00Z"'), Reason.BAD_TIME, id="thirtieth_of_february"),
    pytest.param(line(ts=10**20), Reason.BAD_TIME, id="time_beyond_int64"),
    pytest.param(line(ts=10**400), Reason.BAD_TIME, id="time_of_400_digits"),
    pytest.param(line(ts=T - 30 * 86_400_000_000 - 1), Reason.TIME_TOO_OLD, id="30_days_and_1_us_old"),
    pytest.param(line(ts=0), Reason.TIME_TOO_OLD, id="1970"),
    pytest.param(line(ts=-(2**63)), Reason.BAD_TIME, id="least_int64"),
    pytest.param(line(ts=T + 5_000_001), Reason.TIME_IN_FUTURE, id="5_s_and_1_us_ahead"),
    pytest.param(line(ts=2**63 - 1), Reason.TIME_IN_FUTURE, id="greatest_int64"),
    pytest.param(line(value="NaN"), Reason.NOT_FINITE, id="nan"),
    pytest.param(line(value="-Infinity"), Reason.NOT_FINITE, id="infinity"),
    pytest.param(line(value="1e999"), Reason.NOT_FINITE, id="1e999"),
    pytest.param(line(value="null"), Reason.VALUE_MISSING, id="null_said_good"),
    pytest.param(line(value="null", more=',"quality":64'), Reason.VALUE_MISSING, id="null_said_uncertain"),
    pytest.param(line(value=2**53 + 1), Reason.INTEGER_INEXACT, id="2_to_53_plus_1"),
    pytest.param(line(value=-(2**53) - 1), Reason.INTEGER_INEXACT, id="minus_2_to_53_minus_1"),
    pytest.param(line(value=10**30), Reason.INTEGER_INEXACT, id="1e30_whole"),
    pytest.param(line(value="9" * 5_000), Reason.INTEGER_INEXACT, id="5000_digits"),
    pytest.param(line(more=',"quality":256'), Reason.BAD_QUALITY, id="quality_256"),
    pytest.param(line(more=',"quality":-1'), Reason.BAD_QUALITY, id="quality_minus_1"),
    pytest.param(line(more=f',"quality":{10**30}'), Reason.BAD_QUALITY, id="quality_1e30"),
    pytest.param(line(value="[" * 500 + "]" * 500), Reason.TOO_DEEP, id="nested_500"),
    pytest.param(line(value="[" * 8_000), Reason.TOO_DEEP, id="nested_open"),
    pytest.param(line(value='"' + "x" * 20_000 + '"'), Reason.BAD_SCHEMA, id="state_of_20_kb"),
    pytest.param(line(value="[" + "1," * 10_000 + "1]"), Reason.RECORD_TOO_LARGE, id="wrong_line_of_20_kb"),
]


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(("wrong", "reason"), WRONG)
def test_one_wrong_line_has_its_reason_and_costs_no_other(wrong: bytes, reason: Reason) -> None:
    found = decode(GOOD + b"\n\n" + wrong + b"\r\n" + GOOD + b"\n")
    assert [(r.index, r.reason) for r in found.rejects] == [(1, reason)]
    assert found.rejects[0].payload
    assert len(found.rejects[0].payload) <= 1_024
    assert found.ts_us.tolist() == [T, T]
    assert found.count == 3


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        p
        for p in WRONG
        if p.id
        not in {
            "no_json",
            "cut",
            "comma_after",
            "two_on_a_line",
            "nested_open",
            "lone_surrogate",
            "lone_surrogate_in_unit",
        }
    ],
)
def test_one_wrong_element_of_an_array_costs_no_other(wrong: bytes, reason: Reason) -> None:
    if reason is Reason.NOT_FINITE and wrong != line(value="1e999"):
        with pytest.raises(
            ProtocolError, match="bad_syntax"
        ):  # NaN is no JSON: the array has no elements to tell apart
            decode(b"[" + GOOD + b"," + wrong + b"]", "json")
        return
    found = decode(b"[" + GOOD + b"," + wrong + b"," + GOOD + b"]", "json")
    assert [(r.index, r.reason) for r in found.rejects] == [(1, reason)]
    assert len(found.ts_us) == 2


@pytest.mark.parametrize(("wrong", "reason"), WRONG)
def test_a_lone_event_has_the_same_reason(wrong: bytes, reason: Reason) -> None:
    found = json_event.decode(wrong, limits=LIMITS, received_ts_us=T)
    assert [(r.index, r.reason) for r in found.rejects] == [(0, reason)]


@pytest.mark.parametrize("at_the_limit", [T - 30 * 86_400_000_000, T + 5_000_000])
def test_times_at_the_limit_are_taken(at_the_limit: int) -> None:
    assert decode(line(ts=at_the_limit)).ts_us.tolist() == [at_the_limit]


def test_a_reject_keeps_the_time_that_could_be_read() -> None:
    found = decode(
        line(ts='"2026-01-05T07:00:00Z"', value="NaN") + b"\n" + line(ts=T - 5, value="null") + b"\nxx"
    )
    assert [r.ts_us for r in found.rejects] == [T - 3_600_000_000 * 1, T - 5, 0]


def test_the_explanation_names_the_field() -> None:
    assert "speed" in explain(line(more=',"speed":"C"'))
    assert "unit" in explain(line(more=',"unit":7'))
    assert "ts" in explain(line(ts="1.5"))
    assert explain(GOOD) == ""


def test_readings_leave_in_time_order_equal_times_as_sent() -> None:
    body = b"\n".join(
        [line(ts=T, value=1), line(ts=T - 9, value=2), line(ts=T, value=3), line(ts=T - 9, value=4)]
    )
    assert decode(body).value.tolist() == [2, 4, 1, 3]
    many = b"\n".join(line(ts=T - i % 2, value=i) for i in range(500))
    assert decode(many).value.tolist() == [*range(1, 500, 2), *range(0, 500, 2)]


def test_kinds_come_from_the_values() -> None:
    body = b"\n".join(
        [
            line('"i"', value=1),
            line('"f"', value=1),
            line('"f"', value=1.5),
            line('"b"', value="true"),
            line('"s"', value='"RUN"'),
            line('"s"', value="null", more=',"quality":0'),
            line('"n"', value="null", more=',"quality":0'),
            line('"m"', value=1),
            line('"m"', value='"RUN"'),
        ]
    )
    found = decode(body)
    kinds = sorted(zip(found.tags, map(ValueKind, found.kinds.tolist()), strict=True))
    assert kinds == [
        ("b", ValueKind.BOOL),
        ("f", ValueKind.FLOAT),
        ("i", ValueKind.INTEGER),
        ("m", ValueKind.INTEGER),
        ("m", ValueKind.STATE),
        ("n", ValueKind.FLOAT),
        ("s", ValueKind.STATE),
    ]
    assert found.states == ("RUN",)


def test_a_tag_with_two_units_is_two_entries_and_an_empty_unit_is_none() -> None:
    said = [',"unit":"degC"', "", ',"unit":""', ',"unit":"degF"', ',"unit":"degC"']
    found = decode(b"\n".join(line(more=more) for more in said))
    assert (found.tags, found.units) == (("a/b",) * 3, ("degC", "", "degF"))
    assert found.tag.tolist() == [0, 1, 1, 2, 0]
    assert decode(line(more=',"unit":""')).units == decode(GOOD).units == ()


def test_a_unit_that_only_refused_readings_said_is_gone() -> None:
    found = decode(line(ts=0, more=',"unit":"degC"') + b"\n" + GOOD)
    assert (found.tags, found.units) == (("a/b",), ())
    assert b"degC" in found.rejects[0].payload


def test_one_unit_more_than_a_dictionary_holds_is_refused_alone() -> None:
    found = decode(b"\n".join(line(more=f',"unit":"u{i}"') for i in range(257)))
    assert [(r.index, r.reason) for r in found.rejects] == [
        (255, Reason.BAD_SCHEMA),
        (256, Reason.BAD_SCHEMA),
    ]
    assert len(found.units) == 255


def test_what_only_refused_readings_named_is_gone() -> None:
    found = decode(
        line('"a"', value='"OLD"', ts=0) + b"\n" + line('"b"', value='"NEW"') + b"\n" + line('"c//c"')
    )
    assert (found.tags, found.states, found.value.tolist()) == (("b",), ("NEW",), [0.0])


def test_one_tag_more_than_allowed_is_refused_alone() -> None:
    body = b"\n".join(line(f'"t{i}"') for i in range(12))
    found = decode(body, limits=Limits(tags_max=10))
    assert [(r.index, r.reason) for r in found.rejects] == [
        (10, Reason.TOO_MANY_TAGS),
        (11, Reason.TOO_MANY_TAGS),
    ]


@pytest.mark.parametrize("content", ["ndjson", "json"])
def test_more_readings_than_a_frame_holds_are_refused_whole(content: json_text.Content) -> None:
    body = b"\n".join([GOOD] * 11) if content == "ndjson" else b"[" + b",".join([GOOD] * 11) + b"]"
    with pytest.raises(ProtocolError, match="too_many_readings"):
        decode(body, content, Limits(readings_max=10))


def test_a_body_larger_than_allowed_is_refused_whole() -> None:
    with pytest.raises(ProtocolError, match="record_too_large"):
        decode(GOOD, limits=Limits(bytes_max=10))


json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "tag": st.one_of(st.text(max_size=10), json_values),
        "ts": st.one_of(st.integers(T - 10**9, T), json_values),
        "value": json_values,
        "quality": st.one_of(st.integers(-1, 256), json_values),
        "unit": st.one_of(st.sampled_from(["", "bar", "degC", "x" * 33]), json_values),
        "x": json_values,
    },
)


@given(st.lists(objects, max_size=8))
@settings(max_examples=200)
def test_a_body_gives_what_its_lines_give_alone(lines: list[dict[str, object]]) -> None:
    texts = [json.dumps(one).encode() for one in lines]
    together = decode(b"\n".join(texts))
    alone = [decode(text) for text in texts]
    assert sorted(together.ts_us.tolist()) == sorted(t for one in alone for t in one.ts_us.tolist())
    wanted = [(i, one.rejects[0].reason) for i, one in enumerate(alone) if one.rejects]
    assert [(r.index, r.reason) for r in together.rejects] == wanted
    assert together.count == len(texts)


@given(objects, st.binary(max_size=5), st.integers(0, 60))
@settings(max_examples=300)
def test_a_diagnosis_is_never_ok_and_never_raises(one: dict[str, object], noise: bytes, at: int) -> None:
    text = json.dumps(one).encode()
    damaged = text[:at] + noise + text[at:]
    if decode_one(damaged) is None:
        assert diagnose(damaged)[0] is not Reason.OK


@pytest.mark.parametrize("unit", ["", "°C"])
@pytest.mark.parametrize(
    ("value", "kind", "state"),
    [
        (1.5, ValueKind.FLOAT, ""),
        (3.0, ValueKind.INTEGER, ""),
        (1.0, ValueKind.BOOL, ""),
        (0.0, ValueKind.STATE, "RUN"),
        (np.nan, ValueKind.FLOAT, ""),
    ],
)
def test_a_quarantined_reading_can_be_sent_again(
    value: float, kind: ValueKind, state: str, unit: str
) -> None:
    payload = reading_json("a/b", T, value, kind, 0, state, unit)
    found = decode(payload)
    assert found.units == ((unit,) if unit else ())
    assert (found.tags, found.kinds.tolist(), found.ts_us.tolist()) == (("a/b",), [kind], [T])
    np.testing.assert_array_equal(found.value, [value])
