"""A settings file as YAML: what cannot be read is a sentence, and a key that is written twice is a mistake.

YAML's own reader takes the last of two: whoever adds `profile: records` above an older `profile: ephemeral` would have
records without their guard, and nobody would be told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from millrace.errors import SettingError

_FAST: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is built in: a file is read in a tenth of the time."""


class _EachKeyOnce(_FAST):  # type: ignore[misc]
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} a second time", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> Any:
    """What the file holds; SettingError where it is no YAML, or no file that can be read."""
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_EachKeyOnce)  # nosec B506
    except yaml.YAMLError as error:
        raise SettingError(str(file), got=" ".join(str(error).split()), want="YAML, each key once") from None
    except UnicodeDecodeError as error:
        raise SettingError(
            str(file), got=f"a byte that is no UTF-8 at {error.start}", want="YAML in UTF-8"
        ) from None
    except OSError as error:
        raise SettingError(str(file), got=error.strerror, want="a file that can be read") from None
