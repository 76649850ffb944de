"""What every part of an environment's settings file obeys: unknown keys are refused, nothing changes once read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Impossible(ValueError):
    """A value that cannot be. `key`: which one it is, where a rule is about several."""

    def __init__(self, got: object, want: str, *, key: str = "") -> None:
        super().__init__(f"found {got!r}, wanted {want}")
        self.got, self.want, self.key = got, want, key
