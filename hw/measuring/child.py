"""Runs a program that may crash or hang, with all that it starts in turn."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended.

    Attributes:
        status: Of exit; negative: the signal that ended it. None: it was stopped at its limit.
        output: What it wrote to standard output.
        errors: What it wrote to standard error.
    """

    status: int | None
    output: str
    errors: str

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "no end"
        if self.status < 0:
            return f"a crash with {signal.Signals(-self.status).name}"
        return f"exit status {self.status}"


def run_child(command: Sequence[str], folder: Path, timeout_s: float) -> Finished:
    """Run ``command`` in ``folder`` without a shell or an input.

    It gets a process group of its own, which is killed at the time limit or when the caller is
    interrupted: a wrapper script's child would outlive the script otherwise.

    Raises:
        OSError: It cannot be started.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            output, errors = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _kill_group(child.pid)
            return Finished(None, *child.communicate())
        except BaseException:
            _kill_group(child.pid)
            raise
    return Finished(child.returncode, output, errors)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
