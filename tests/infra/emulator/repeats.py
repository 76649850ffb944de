"""A call that its SDK sends again is one call: the answer is given again, nothing is done twice.

An SDK repeats a call whose connection broke before the answer was read, and numbers its attempts. The services of
AWS mostly know such a repeat; an emulator without this carries it out again and refuses it («already exists»).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

ANSWERS_MAX: Final = 256
"""Answers that are kept: a repeat comes within seconds, behind as many calls as Terraform has under way."""
_ATTEMPT: Final = re.compile(r"attempt=(\d+)")

Answer = tuple[str, list[tuple[str, str]], list[bytes]]
"""Status line, headers, body."""


class Repeats:
    """The newest answers by the call's own number; not for several threads at once."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def known(self, environ: Mapping[str, Any]) -> Answer | None:
        """The answer that an earlier attempt of this call got; None where this is the first that arrives."""
        attempt = _ATTEMPT.search(environ.get("HTTP_AMZ_SDK_REQUEST", ""))
        if attempt is None or int(attempt[1]) < 2:
            return None
        return self._answers.get(_number(environ))

    def keep(self, environ: Mapping[str, Any], answer: Answer) -> None:
        """Only what was carried out: after a refusal the next attempt is a new try."""
        if (number := _number(environ)) and answer[0].startswith("2"):
            self._answers[number] = answer
            if len(self._answers) > ANSWERS_MAX:
                self._answers.popitem(last=False)


def _number(environ: Mapping[str, Any]) -> str:
    return str(environ.get("HTTP_AMZ_SDK_INVOCATION_ID", ""))
