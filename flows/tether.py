"""Runs a command that must not outlive the process which asked for it.

``python flows/tether.py COMMAND...`` starts the command and waits. A command that a signal ended
(want of memory, a crash in native code) is started again, a few times. The command's whole process
group is ended, first politely, then by force, as soon as one of these happens: standard input
reaches its end (the owner closed the pipe, or died of anything, ``kill -9`` included), the owner
is gone (Linux tells), or a terminate signal arrives. The exit status is the command's.

Start it in a session of its own: then Ctrl-C reaches the owner alone, which can still talk to the
command while it cleans up. Uses the standard library only, and is run by path.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
RESTARTS = 3
_ASKED = (0, -signal.SIGTERM, -signal.SIGINT)
"""How a command ends that somebody asked to; it may also have ended with a status of its own."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class _Request:
    """Handles the terminate signal. It only takes note: an exception could come anywhere.

    When the owner dies, its pipe ends and a signal follows, maybe in the middle of the clean-up.
    """

    def __init__(self) -> None:
        self.made = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.made = True


def ask_for_death_signal(signum: int = signal.SIGTERM) -> None:
    """Lets the kernel send ``signum`` to this process when its parent dies. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """The command, which the kernel ends if this process is killed itself."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: ask_for_death_signal(signal.SIGKILL),
    )


def _wait(child: subprocess.Popen[bytes], request: _Request) -> None:
    """Returns when the child has ended, standard input has, or a signal arrived."""
    while child.poll() is None and not request.made:
        ready, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
        if ready and not os.read(sys.stdin.fileno(), 1024):
            return


def _end(child: subprocess.Popen[bytes]) -> None:
    """Terminates the group; after a grace period kills what is left, this process included."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # we are of the group, and have to see it end
    os.killpg(0, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    os.killpg(0, signal.SIGKILL)


def main(command: Sequence[str]) -> int:
    """Runs ``command`` until it ends or has to.

    Returns:
        The exit status of the command, negative for a signal.
    """
    request = _Request()
    signal.signal(signal.SIGTERM, request)
    ask_for_death_signal()
    for _ in range(1 + RESTARTS):
        child = _started(command)
        _wait(child, request)
        if child.poll() is None:
            _end(child)
        if request.made or child.returncode > 0 or child.returncode in _ASKED:
            break
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
