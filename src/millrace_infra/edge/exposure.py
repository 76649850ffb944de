"""What of the service's contract the edge offers, and why not the rest: the decisions, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Hidden:
    """A path that the edge does not offer, and what to use in its place."""

    reason: str
    instead: str


@dataclass(frozen=True)
class Exposure:
    hidden: Mapping[str, Hidden]
    slashed: Mapping[str, int]
    """Variables that hold a path -> how many segments of it the edge knows."""
    unchecked: Mapping[str, str]
    """Paths whose bodies the service alone judges -> why."""
    binary: tuple[str, ...] = ()
    """Media types that the service takes beside those of its document."""


FRAME_TYPE: Final = "application/vnd.millrace.frame"
"""A producer's own frames. Restated from `millrace.ingest.body`, which brings the decoders along."""

EXPOSURE: Final = Exposure(
    hidden={
        "/v1/live": Hidden(
            reason="API Gateway does not stream: it gathers an answer for 29 s at most",
            instead="poll /v1/equipment/{path}/live, or connect to /v1/live inside the network",
        ),
    },
    # ISA-95 has six levels down to the tag; two more are for metrics that sit in folders, as in Sparkplug B.
    # Deeper ones answer inside the network.
    slashed={"path": 8},
    unchecked={
        "/v1/readings": "one bad reading must not cost its neighbours: the service judges each for itself and "
        "keeps what is bad aside with its reason",
    },
    binary=(FRAME_TYPE,),
)
