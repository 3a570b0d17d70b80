"""Proxies of the environment: never asked for a server of our own on this machine.

``http_proxy`` without ``no_proxy`` is common in offices, and every client of HTTP here obeys it: a
proxy would be asked for 127.0.0.1, and answer, or not, in the place of our server.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import MutableMapping
from typing import Final

OURS: Final = ("127.0.0.1", "localhost", "::1")
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")
_EXCEPT: Final = ("no_proxy", "NO_PROXY")


def spare_loopback(environment: MutableMapping[str, str] | None = None) -> None:
    """Adds loopback to what no proxy is asked for, for this process and its children.

    Proxies that no client here can use (SOCKS without its package) are forgotten: one of them is
    enough for the client of Prefect to refuse to start, whatever it is to talk to.

    Args:
        environment: What to change; that of this process if None.
    """
    variables = os.environ if environment is None else environment
    named = [name for name in variables if name.lower() in _PROXIES]
    for name in named:
        if not _usable(variables[name]):
            del variables[name]
    if not named:
        return
    given = [variables[name] for name in _EXCEPT if variables.get(name)]
    hosts = [host.strip() for text in given for host in text.split(",")]
    for name in _EXCEPT:
        variables[name] = ",".join(dict.fromkeys(filter(None, [*hosts, *OURS])))


def _usable(proxy: str) -> bool:
    """Whether clients of HTTP know how to speak to a proxy; without a scheme it is HTTP."""
    scheme = proxy.split("://")[0].lower() if "://" in proxy else "http"
    if scheme.startswith("socks"):
        return importlib.util.find_spec("socksio") is not None
    return scheme in ("http", "https")
