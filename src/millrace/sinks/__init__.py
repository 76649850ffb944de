"""Where outputs end: the operational store, the fast path, the archive. `table.SINKS` lists them."""
