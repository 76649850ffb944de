"""The settings of an environment: `load("dev", "pr42")`."""

from millrace_infra.settings.environment import Environment, Settings, known, load
from millrace_infra.settings.sizes import TaskSize

__all__ = ["Environment", "Settings", "TaskSize", "known", "load"]
