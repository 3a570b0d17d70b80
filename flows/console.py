"""What reaches the person who runs a flow: our words, and not those of native libraries.

TensorFlow, MLIR and LiteRT write to file descriptor 2, past Python and past every log level. So
that descriptor leads to a log file from then on, and ``sys.stderr`` gets a descriptor of its own.
Because a crash in native code would now be silent, a second process, which does nothing but wait,
says where the log is if this one ends without saying so.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

LOG: Final = Path(".edgenas") / "log" / "run.log"
_LONG_BYTES: Final = 4_000_000
_WITNESS: Final = Path(__file__).with_name("witness.py")


def keep_native_output_in(log: Path = LOG) -> None:
    """Leads what libraries write to descriptor 2 into ``log``, for the rest of this process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LONG_BYTES:
        os.replace(log, log.with_suffix(".log.1"))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with log.open("ab") as file:
        if os.path.sameopenfile(2, file.fileno()):  # a second call
            return
        sys.stderr.flush()
        sys.stderr = os.fdopen(os.dup(2), "w", 1, sys.stderr.encoding, "backslashreplace")
        os.dup2(file.fileno(), 2)
    faulthandler.enable(2)


def point_to_log_at_sudden_death(log: Path = LOG) -> None:
    """Lets another process name ``log`` on our standard error if we are killed, or crash."""
    text = (
        "error: the run must end by itself, but it was killed, or crashed in native code. What it "
        f"said last is in {log}. The same command takes up where it ended."
    )
    witness = subprocess.Popen(
        [sys.executable, "-I", str(_WITNESS), text],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,  # descriptor 2 may lead to the log by now
        start_new_session=True,
    )
    atexit.register(witness.communicate, b".")
