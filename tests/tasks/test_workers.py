"""Independent pieces of work in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.run import workers


def own_number(piece: int, report: workers.Report) -> tuple[int, int]:
    report(piece, "")
    return piece, os.getpid()


def fail_on_two(piece: int, report: workers.Report) -> int:
    if piece == 2:
        raise ValueError("two")
    return piece


def ignore(done: int, note: str) -> None:
    pass


def test_a_team_keeps_its_processes_also_when_the_thread_that_started_them_is_gone() -> None:
    team, found = workers.Team(1), []
    first = threading.Thread(target=lambda: found.extend(team.run_all(own_number, [1, 2], ignore)))
    first.start()
    first.join()
    time.sleep(1.0)
    found += team.run_all(own_number, [3], ignore)
    team.close()
    assert [piece for piece, _ in found] == [1, 2, 3]
    assert len({process for _, process in found}) == 1


def test_a_team_works_again_after_a_piece_that_failed() -> None:
    team = workers.Team(2)
    with pytest.raises(ValueError, match="two"):
        team.run_all(fail_on_two, [1, 2, 3], ignore)
    assert team.run_all(fail_on_two, [1, 3], ignore) == [1, 3]
    team.close()


def die_once(path: str, report: workers.Report) -> str:
    """Leaves a note of each attempt; the first is killed."""
    with Path(path).open("a") as notes:
        notes.write("tried\n")
    if Path(path).read_text() == "tried\n":
        os.kill(os.getpid(), signal.SIGKILL)
    return Path(path).name


def die_always(path: str, report: workers.Report) -> None:
    with Path(path).open("a") as notes:
        notes.write("tried\n")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_piece_whose_process_is_killed_is_done_again(tmp_path: Path) -> None:
    team = workers.Team(2)
    paths = [str(tmp_path / name) for name in ("one", "two", "three")]
    assert team.run_all(die_once, paths, ignore) == ["one", "two", "three"]
    assert [Path(path).read_text().count("tried") >= 2 for path in paths] == [True] * 3
    team.close()


def test_a_piece_that_is_killed_again_and_again_ends_the_run_in_one_line(tmp_path: Path) -> None:
    team, path = workers.Team(1), tmp_path / "notes"
    with pytest.raises(workers.WorkersError, match="killed 3 times in a row") as raised:
        team.run_all(die_always, [str(path)], ignore)
    assert path.read_text().count("tried") == 3
    assert "\n" not in str(raised.value) and "EDGENAS_WORKERS=1" in str(raised.value)
    assert team.run_all(fail_on_two, [1, 3], ignore) == [1, 3]
    team.close()


def test_an_idle_process_that_is_killed_is_replaced() -> None:
    team = workers.Team(1)
    ((_, process),) = team.run_all(own_number, [1], ignore)
    os.kill(process, signal.SIGKILL)
    ((_, other),) = team.run_all(own_number, [2], ignore)
    assert other != process
    team.close()


HERE = Path(__file__).parent
KILLED = """
import os, sys, time
sys.path[:0] = [{here!r}, {root!r}]
from test_workers import linger, workers, ignore
if __name__ == "__main__":
    workers.run_all(linger, [{path!r}], 1, ignore)
"""


def linger(path: str, report: workers.Report) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)


def _gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    path, script = tmp_path / "pid", tmp_path / "parent.py"
    script.write_text(KILLED.format(here=str(HERE), root=str(HERE.parents[1]), path=str(path)))
    parent = subprocess.Popen([sys.executable, str(script)])
    _until(lambda: path.exists() and path.read_text(), 60)
    parent.kill()
    parent.wait()
    _until(lambda: _gone(int(path.read_text())), 30)


def _until(condition: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "pieces", "processes"),
    [(2, 16, 8, 2), (8, 64, 8, 4), (8, 64, 3, 3), (8, 4, 8, 2), (8, 1, 8, 1), (1, 64, 8, 1)],
)
def test_there_is_a_process_for_each_core_that_has_the_memory(
    cores: int, gigabytes: int, pieces: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGENAS_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    memory = {"SC_PHYS_PAGES": gigabytes << 18, "SC_PAGE_SIZE": 1 << 12}
    monkeypatch.setattr(os, "sysconf", memory.__getitem__)
    assert workers.count(pieces) == processes
