"""What every part of an environment's settings file obeys: unknown keys are refused, nothing changes once read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
