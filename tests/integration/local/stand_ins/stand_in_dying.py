"""A process that says its last words at once."""

raise SystemExit("the last words of a hopeless child")
