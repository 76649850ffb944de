"""What an operator sees: logs, alarms, dashboards, traces."""
