"""Proxies of an office, and our own servers on this machine."""

from __future__ import annotations

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows import server
from flows.proxies import OURS, spare_loopback

DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def own_opener(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies that urllib finds at its first request stay for the rest of the process."""
    monkeypatch.setattr("urllib.request._opener", None)


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({"http_proxy": DEAD}, OURS),
        ({"HTTPS_PROXY": DEAD}, OURS),
        ({"ALL_PROXY": "proxy.office:3128", "NO_PROXY": "a.b, localhost"}, ("a.b", "localhost")),
        ({"http_proxy": DEAD, "no_proxy": "a.b", "NO_PROXY": "c.d"}, ("a.b", "c.d")),
        ({"http_proxy": DEAD, "no_proxy": "*"}, ("*",)),
    ],
)
def test_loopback_is_added_to_the_exceptions(
    given: dict[str, str], hosts: tuple[str, ...]
) -> None:
    environment = dict(given)
    spare_loopback(environment)
    for name in ("no_proxy", "NO_PROXY"):
        assert environment[name].split(",") == list(dict.fromkeys((*hosts, *OURS)))
    kept = {name: value for name, value in environment.items() if name.lower() != "no_proxy"}
    assert kept == {name: v for name, v in given.items() if name.lower() != "no_proxy"}


def test_twice_is_as_once() -> None:
    environment = {"http_proxy": DEAD}
    spare_loopback(environment)
    once = dict(environment)
    spare_loopback(environment)
    assert environment == once


def test_without_proxies_nothing_changes() -> None:
    environment = {"PATH": "/bin", "no_proxy": "a.b"}
    spare_loopback(environment)
    assert environment == {"PATH": "/bin", "no_proxy": "a.b"}


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks5h://x", "foo://x"])
def test_proxies_that_no_client_can_use_are_forgotten(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    environment = {"ALL_PROXY": proxy, "http_proxy": DEAD}
    spare_loopback(environment)
    assert "ALL_PROXY" not in environment and environment["http_proxy"] == DEAD


class _Proxy(BaseHTTPRequestHandler):
    """Answers in the place of everybody."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_proxy_is_not_taken_for_our_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with HTTPServer(("127.0.0.1", 0), _Proxy) as proxy, socket.socket() as nobody:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        nobody.bind(("127.0.0.1", 0))
        ours = f"http://127.0.0.1:{nobody.getsockname()[1]}/api/health"
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        assert server.answers(ours)  # it was taken for the server
        spare_loopback()
        assert not server.answers(ours)
        proxy.shutdown()
