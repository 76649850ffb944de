"""What start-up made lives as long as the process; the garbage collector is told once, and never looks at it again.

Modules, compiled kernels and tables of a worker are 161,000 objects: each full collection walked them, for 83 ms in the
middle of a batch (`docs/performance.md`). What is freed by its last reference is freed as before.
"""

from __future__ import annotations

import gc


def keep_for_good() -> None:
    """Call it once, when everything is loaded and before the first batch or request."""
    gc.collect()
    gc.freeze()
