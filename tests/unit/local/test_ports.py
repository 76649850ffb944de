from __future__ import annotations

import socket

import pytest

from millrace.errors import SettingError
from millrace.local import ports
from millrace.settings import load


def test_a_taken_port_is_named_with_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=rf"MILLRACE_API_PORT: .*port {port}"):
            ports.require_free(load({"MILLRACE_API_PORT": str(port), "MILLRACE_DASHBOARD": "false"}))


def test_the_page_cannot_have_the_apis_port() -> None:
    with pytest.raises(SettingError, match="MILLRACE_DASHBOARD_PORT"):
        ports.require_free(load({"MILLRACE_API_PORT": "18080", "MILLRACE_DASHBOARD_PORT": "18080"}))


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1", "::2", "not an address"])
def test_an_address_of_another_machine_is_named_and_not_its_port(host: str) -> None:
    with pytest.raises(SettingError, match=rf"MILLRACE_API_HOST: found '{host}: .*wanted an address of this"):
        ports.require_free(load({"MILLRACE_API_HOST": host, "MILLRACE_DASHBOARD": "false"}))
