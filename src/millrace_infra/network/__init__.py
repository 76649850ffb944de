"""The network: `Network`, and the table of who may speak to whom."""

from millrace_infra.network.flows import ALB_PORT, API_PORT, DASHBOARD_PORT
from millrace_infra.network.network import Network

__all__ = ["ALB_PORT", "API_PORT", "DASHBOARD_PORT", "Network"]
