"""The kept document of the service is the service's, and the tables speak of what the service has."""

from __future__ import annotations

import re

from millrace.api.app import ROUTERS
from millrace.ingest.body import FRAME_TYPE as FRAME_TYPE_OF_THE_DOOR
from millrace_infra.edge import definition
from millrace_infra.edge.exposure import EXPOSURE, FRAME_TYPE
from millrace_infra.edge.firewall import INGEST_PATH
from scripts.document_api import document

SLASHED = re.compile(r"\{(\w+):path\}")


def test_the_kept_document_is_what_the_service_says_of_itself() -> None:
    kept = definition.service_document()
    assert kept == document(), (
        "write it anew: python scripts/document_api.py > src/millrace_infra/edge/service.json"
    )


def test_every_variable_with_slashes_in_the_service_is_spelled_out_at_the_edge() -> None:
    found = {name for router in ROUTERS for route in router.routes for name in SLASHED.findall(route.path)}
    assert found == EXPOSURE.slashed.keys()


def test_a_variable_with_slashes_has_no_namesake_without() -> None:
    for router in ROUTERS:
        for route in router.routes:
            plain = set(re.findall(r"\{(\w+)\}", route.path))
            assert not plain & EXPOSURE.slashed.keys(), route.path


def test_words_that_are_restated_here_are_the_services() -> None:
    assert FRAME_TYPE == FRAME_TYPE_OF_THE_DOOR
    assert any(route.path == INGEST_PATH for router in ROUTERS for route in router.routes)
