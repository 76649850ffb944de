"""`millrace rejects` names what was refused: its tag, or what was sent."""

from __future__ import annotations

from millrace.cli.rejects import SHOWN_MAX, what


def test_a_reject_is_named_by_its_tag_or_by_what_was_sent() -> None:
    assert what({"tag": "acme/lyon/x", "payload": "{}"}) == "acme/lyon/x"
    assert what({"tag": "", "payload": '{"tag":"acme/lyon/x", "ts":"yesterday"}'}).endswith('"yesterday"}')
    assert what({"tag": None, "payload": ""}) == "-"


def test_what_was_sent_harms_no_terminal_and_is_bounded() -> None:
    assert what({"payload": "\x1b[2J\r\n{ \x07"}) == "·[2J { ·"
    assert what({"payload": "x" * 1_000}) == "x" * SHOWN_MAX + "…"
