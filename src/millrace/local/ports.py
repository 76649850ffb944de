"""Are the ports free, said before anything is started."""

from __future__ import annotations

import contextlib
import socket

import psutil

from millrace.errors import SettingError
from millrace.settings import Settings


def wanted(settings: Settings) -> dict[str, tuple[str, int]]:
    """Setting -> (host, port) that the platform will listen on."""
    ports = {"MILLRACE_API_PORT": (settings.api_host, settings.api_port)}
    if settings.dashboard:
        ports["MILLRACE_DASHBOARD_PORT"] = ("127.0.0.1", settings.dashboard_port)
    return ports


def require_free(settings: Settings) -> None:
    """SettingError for the first port that somebody else listens on."""
    ports = wanted(settings)
    if len({port for _, port in ports.values()}) < len(ports):
        raise SettingError(
            "MILLRACE_DASHBOARD_PORT", got=settings.dashboard_port, want="another one than the API's"
        )
    for setting, (host, port) in ports.items():
        fault = why_taken(host, port)
        if fault and host == settings.api_host and not _is_here(host):
            want = "an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them"
            raise SettingError("MILLRACE_API_HOST", got=f"{host}: {fault}", want=want)
        if fault:
            raise SettingError(
                setting, got=f"port {port}: {fault}", want=f"a free port; {setting}=… names another one"
            )


def why_taken(host: str, port: int) -> str:
    """Why we could not listen there; empty when we could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return f"{error.strerror}{_holder(port)}"
    return ""


def _is_here(host: str) -> bool:
    """Whether this machine can listen there at all, whatever the port."""
    return not why_taken(host, 0)


def _holder(port: int) -> str:
    """', by pid N (name)' where the system tells us."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f", by pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""
