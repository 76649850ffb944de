"""The collector passes over what start-up made, and only over that."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from millrace.long_lived import keep_for_good

class Node:
    pass

before = Node()
keep_for_good()
assert gc.get_freeze_count() > 1_000, gc.get_freeze_count()
assert not any(one is before for one in gc.get_objects())
ring = Node()
ring.itself, gone = ring, weakref.ref(ring)
del ring
gc.collect()
assert gone() is None
"""


def test_what_start_up_made_is_passed_over_and_later_rings_are_still_freed() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
