"""Where a Databricks workspace is, and how one logs in: what its own client looks for.

That client asks the metadata services of three clouds before it says that it found nothing, which
takes minutes. Here environment and ``~/.databrickscfg`` are read, and nothing is asked.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_FILE: Final = "~/.databrickscfg"
_DEFAULT: Final = "DEFAULT"
_KEYS: Final = ("host", "token")


class DatabricksError(ValueError):
    """No workspace is named anywhere."""


@dataclass(frozen=True, slots=True)
class Login:
    """A workspace.

    Attributes:
        host: Its address, with scheme.
        token: Of the person; None: its client logs in by another way.
    """

    host: str
    token: str | None


def login_of(uri: str, environment: Mapping[str, str]) -> Login:
    """The workspace that ``databricks`` or ``databricks://PROFILE`` stands for.

    Raises:
        DatabricksError: Nothing says where it is.
    """
    file = Path(environment.get("DATABRICKS_CONFIG_FILE") or _FILE).expanduser()
    named, _, prefix = urlsplit(uri).netloc.partition(":")
    profile = "" if prefix else named  # with a prefix it is a scope of secrets
    told = _profile(file, profile or environment.get("DATABRICKS_CONFIG_PROFILE") or _DEFAULT)
    if not profile:
        given = {key: environment.get(f"DATABRICKS_{key.upper()}") for key in _KEYS}
        told = {**told, **{key: value for key, value in given.items() if value}}
    if not told.get("host"):
        raise DatabricksError(
            f"no profile {profile} with a host in {file}"
            if profile
            else f"no workspace (neither DATABRICKS_HOST nor a host in {file})"
        )
    host = told["host"] if "://" in told["host"] else f"https://{told['host']}"
    return Login(host.rstrip("/"), told.get("token") or None)


def is_inside(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a notebook or a job of Databricks, where the client needs no login."""
    return "DATABRICKS_RUNTIME_VERSION" in environment


def _profile(file: Path, name: str) -> Mapping[str, str]:
    """What the file says under a name; nothing where there is no such file or name."""
    stored = configparser.ConfigParser(interpolation=None, default_section=" none")
    try:
        stored.read(file)
    except (OSError, configparser.Error, UnicodeDecodeError):
        return {}
    return dict(stored[name]) if stored.has_section(name) else {}
