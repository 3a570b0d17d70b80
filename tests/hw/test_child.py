"""Programs that end, crash, hang, or start others."""

import os
import sys
import time

import pytest

from hw.measuring.child import run_child


def run(tmp_path, code, timeout_s=20.0):
    return run_child([sys.executable, "-c", code], tmp_path, timeout_s)


def test_output_errors_and_status_are_told_apart(tmp_path):
    code = "import os, sys; print(os.getcwd()); sys.stderr.write('no'); sys.exit(3)"
    done = run(tmp_path, code)
    assert (done.output.strip(), done.errors) == (str(tmp_path), "no")
    assert (done.status, done.ending) == (3, "exit status 3")


def test_a_crash_is_named_by_its_signal(tmp_path):
    done = run(tmp_path, "import os; print('half', flush=True); os.kill(os.getpid(), 11)")
    assert (done.status, done.output.strip()) == (-11, "half")
    assert done.ending == "a crash with SIGSEGV"


def test_nothing_is_read_from_the_terminal(tmp_path):
    assert run(tmp_path, "print(input())").status == 1


def test_bytes_that_are_no_text_are_no_obstacle(tmp_path):
    done = run(tmp_path, "import sys; sys.stdout.buffer.write(b'a\\xff')")
    assert done.output == "a\ufffd"


def test_a_program_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        run_child([str(tmp_path / "absent")], tmp_path, 1.0)


def test_what_a_wrapper_started_is_stopped_with_it(tmp_path):
    script = tmp_path / "wrapper"
    script.write_text("#!/bin/sh\necho begun\nsleep 300 &\necho $! > pid\nwait\n")
    script.chmod(0o755)
    start = time.monotonic()
    done = run_child([str(script)], tmp_path, 1.0)
    assert (done.status, done.ending, done.output) == (None, "no end", "begun\n")
    assert time.monotonic() - start < 150  # of 300, with room for a busy machine
    sleeper = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not _alive(sleeper):
            return
        time.sleep(0.05)
    pytest.fail(f"process {sleeper} is still there")


def _alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
