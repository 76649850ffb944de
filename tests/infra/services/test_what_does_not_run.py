"""The table of docs/deploy.md says exactly what the programs are told on AWS and do not read.

Whoever makes a program read one takes it off the table; whoever tells a program more puts it there, or reads it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from millrace import names, settings
from millrace.errors import SettingError
from tests.infra.program import Program
from tests.infra.services.parts import LONG_RUNNING, variables

PAGE = Path(__file__).parents[3] / "docs" / "deploy.md"
SOURCE = Path(names.__file__).parent
ANCHOR = "## What does not run yet"
OTHER_PROGRAMS = ("names.py", "schema/__main__.py")
"""The words themselves; the migration, which is a task of its own."""
WORDS = {
    value: word for word, value in vars(names).items() if word.startswith("ENV_") and isinstance(value, str)
}


def documented() -> dict[str, set[str]]:
    """Program -> variables, as the table has them."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n{ANCHOR}\n")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {task: set() for task in LONG_RUNNING}
    for row in re.findall(r"^\| (`MILLRACE_.*?) \| (.*?) \|", section, re.MULTILINE):
        for task in row[1].split(", "):
            found[task] |= set(re.findall(r"`(\w+)`", row[0]))
    return found


def read(variable: str) -> bool:
    """It is a setting, or some module of the programs names it."""
    if variable.removeprefix(names.ENV_PREFIX).lower() in settings.Settings.model_fields:
        return True
    return WORDS.get(variable, variable) in written_words()


@cache
def written_words() -> frozenset[str]:
    """Every word in the modules of the programs."""
    files = [file for file in SOURCE.rglob("*.py") if str(file.relative_to(SOURCE)) not in OTHER_PROGRAMS]
    return frozenset(word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8")))


def test_the_page_names_what_no_program_reads_and_nothing_else(platform: Program) -> None:
    unread = {
        task: {one for one in variables(platform, task) if one.startswith(names.ENV_PREFIX) and not read(one)}
        for task in LONG_RUNNING
    }
    assert documented() == unread


@pytest.mark.parametrize("task", LONG_RUNNING)
def test_a_program_says_at_its_start_what_it_does_not_know(platform: Program, task: str) -> None:
    """As long as the page has a row for it: a variable that is passed over in silence would be believed."""
    if not documented()[task]:
        settings.load(variables(platform, task))
        return
    with pytest.raises(SettingError, match="unknown setting"):
        settings.load(variables(platform, task))
