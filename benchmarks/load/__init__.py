"""Loads that the platform cannot or should not take at once: overload at the door, a backlog beside live
sources."""
