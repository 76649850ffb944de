"""The one way in: a network load balancer for the edge, behind it an application load balancer that knows paths."""

from millrace_infra.entry.entry import Entry
from millrace_infra.entry.targets import TargetGroup

__all__ = ["Entry", "TargetGroup"]
