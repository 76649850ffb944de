"""The content of a settings file, before anybody judges its keys: YAML in which each key stands once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from millrace.errors import SettingError

SAFE: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is built in: a file is read in a tenth of the time."""


def read(file: Path) -> Mapping[str, Any]:
    """What the file says; SettingError where it cannot be read, or says something twice."""
    try:
        content = _content(file.read_text(encoding="utf-8"), file)
    except OSError as error:
        raise SettingError(str(file), got=error.strerror, want="a file that can be read") from None
    except UnicodeDecodeError as error:
        raise SettingError(str(file), got=f"no UTF-8 at byte {error.start}", want="YAML in UTF-8") from None
    except yaml.YAMLError as error:
        raise SettingError(str(file), got=" ".join(str(error).split()), want="YAML") from None
    if not isinstance(content, dict):
        found = "an empty file" if content is None else type(content).__name__
        raise SettingError(str(file), got=found, want="a mapping of settings")
    return content


def _content(text: str, file: Path) -> Any:
    loader = SAFE(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_a_second_time(node, file, seen=set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_a_second_time(node: yaml.Node, file: Path, *, seen: set[int]) -> None:
    """YAML's loader takes the last of two: `profile: records` would be undone further down, without a word."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))  # an alias leads to the node that it repeats
    lines: dict[str, int] = {}
    for one in node.value:
        key, value = one if isinstance(node, yaml.MappingNode) else (None, one)
        if isinstance(key, yaml.ScalarNode):
            _keep(key, lines, file)
        _refuse_a_second_time(value, file, seen=seen)


def _keep(key: yaml.ScalarNode, lines: dict[str, int], file: Path) -> None:
    """The line of a key, unless there is one already."""
    line = key.start_mark.line + 1
    if key.value in lines:
        want = f"one of them; line {lines[key.value]} has it"
        raise SettingError(f"{file} line {line}", got=f"{key.value} a second time", want=want)
    lines[key.value] = line
