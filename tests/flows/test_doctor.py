"""What the doctor finds: nothing where all is well, else a line with the cure."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flows import __main__ as cli
from flows import doctor
from flows.checkup import disk, machine, packages, processes, profiles, servers, stores
from flows.checkup.finding import Finding
from tasks.pipeline.stages import alone
from tasks.run.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
OWN = Path(".edgenas") / "mlflow" / "mlflow.db"


@pytest.fixture(autouse=True)
def nobody_named_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "EDGENAS_WORKERS")
    for name in names:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What of the project is looked at."""
    for name in ("pyproject.toml", "requirements.lock", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def database(root: Path) -> Path:
    path = root / OWN
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE a (b)")
        db.executemany("INSERT INTO a VALUES (?)", [("x" * 100,)] * 1000)
    return path


def worst(found: Iterator[Finding]) -> list[Finding]:
    return [one for one in found if one.level == "bad"]


# -- all of it ----------------------------------------------------------------------------------


def test_it_says_all_in_lines_and_in_json(
    root: Path, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    before = sorted(root.rglob("*"))
    monkeypatch.setattr(doctor, "_LOOKS", doctor._LOOKS[2:])  # what this machine has is its own
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "All is well." and all(line.startswith("good ") for line in lines[:-1])
    assert cli.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True and len(told["findings"]) == len(lines) - 1
    assert set(told["findings"][0]) == {"subject", "level", "said", "cure"}
    database.write_text("this is a text " * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    monkeypatch.setenv("HOME", str(root))
    assert cli.main(["doctor"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "2 to be mended."
    assert sum(line.startswith("bad ") and " Cure: " in line for line in lines) == 2
    assert cli.main(["doctor", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert sorted(root.rglob("*")) == before  # nothing is left by the looks


def test_it_takes_seconds_and_neither_tensorflow_nor_a_server(
    own_environment: dict[str, str],
) -> None:
    code = (
        "import sys, time; from pathlib import Path; began = time.process_time(); "
        "from flows import doctor; doctor.run(Path(), as_json=True); "
        "loaded = {'tensorflow', 'mlflow', 'prefect', 'keras'} & set(sys.modules); "
        "print(time.process_time() - began, sorted(loaded), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=own_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, _, loaded = done.stderr.strip().splitlines()[-1].partition(" ")
    assert float(seconds) < 5 and loaded == "[]"


def test_a_file_of_the_project_that_is_missing_is_told(tmp_path: Path) -> None:
    found = worst(doctor.findings(tmp_path))
    assert any("pyproject.toml must be readable" in one.said for one in found)
    assert all("\n" not in one.line and one.cure for one in found)


# -- stores -------------------------------------------------------------------------------------


def test_a_store_that_is_cut_or_overwritten_is_told(root: Path, database: Path) -> None:
    assert worst(stores.look(root)) == []
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 2])
    (one,) = worst(stores.look(root))
    assert f"{OWN} must be a whole SQLite database" in one.said and one.cure
    database.write_bytes(b"no database at all, but a text that is long enough" * 40)
    (one,) = worst(stores.look(root))
    assert "file is not a database" in one.said


def test_a_store_that_somebody_holds_is_told_and_is_no_fault(root: Path, database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        (one,) = stores.look(root)
    assert one.level == "note" and f"{OWN} is locked by " in one.said


def test_a_store_that_cannot_be_written_is_told(root: Path, database: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    database.chmod(0o400)
    (one,) = worst(stores.look(root))
    assert one.cure == f"chmod u+rw {OWN}"


# -- disk ---------------------------------------------------------------------------------------


def test_free_space_is_compared_with_the_largest_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "runs" / "mine").mkdir(parents=True)
    (root / "runs" / "mine" / "weights.npz").write_bytes(b"x" * 1_000_000)
    usage = shutil.disk_usage(root)
    needed = disk.LEAST_BYTES + disk.COPIES * 1_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    first, second = disk.look(root)
    assert first.level == second.level == "good" and "runs/ 1.0 MB" in second.said
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    (one,) = worst(disk.look(root))
    assert "204.0 MB must be free" in one.said and "flows prune" in one.cure


def test_large_left_overs_are_spoken_of(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".dvc").mkdir()
    remote = root / "remote"
    remote.mkdir()
    (remote / "a").write_bytes(b"x" * 2000)
    (root / ".dvc" / "config").write_text(
        "[core]\n    remote = local\n['remote \"local\"']\n    url = ../remote\n"
    )
    (root / ".edgenas" / "log").mkdir(parents=True)
    (root / ".edgenas" / "log" / "run.log").write_bytes(b"x" * 1_000_000)
    usage = shutil.disk_usage(root)
    free = usage._replace(free=disk.LEAST_BYTES + 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert "DVC's remote 2.0 kB" in list(disk.look(root))[1].said
    monkeypatch.setattr(disk, "LARGE", 0.001)
    assert list(disk.look(root))[1].level == "note"


# -- versions and machine -----------------------------------------------------------------------


def test_packages_are_compared_with_the_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "requirements.lock").write_text(
        "Some.Package==1.0 \\\n    --hash=sha256:0\n"
        "other[extra]==2.0 ; python_version < '3.12' \\\n"
        "other==3.0 ; python_version >= '3.12' \\\nfar==1.0 ; sys_platform == 'win32' \\\n"
    )
    (root / "pyproject.toml").write_text(
        '[project]\nrequires-python = ">=3.11,<3.14"\n'
        'dependencies = ["some-package>=1", "other"]\n'
    )
    have = {"some-package": "1.0", "other": "3.0", "unknown": "9"}
    monkeypatch.setattr(packages, "installed", lambda: have)
    assert [one.level for one in packages.look(root)] == ["good", "good"]
    have["some-package"] = "1.1"
    (one,) = worst(packages.look(root))
    assert "some-package 1.1 instead of 1.0" in one.said and "make setup" in one.cure
    del have["other"]
    (one,) = worst(packages.look(root))
    assert "must be there, but are not: other." in one.said


@pytest.mark.parametrize(("bounds", "is_good"), [(">=3.11,<3.14", True), (">=3.99", False)])
def test_python_must_be_of_the_versions_named(root: Path, bounds: str, is_good: bool) -> None:
    (root / "pyproject.toml").write_text(
        f'[project]\nrequires-python = "{bounds}"\ndependencies = []\n'
    )
    assert (next(packages.look(root)).level == "good") is is_good


def proc(folder: Path, flags: str, free_kb: int) -> Path:
    (folder / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags}\n")
    (folder / "meminfo").write_text(f"MemTotal: 16000000 kB\nMemAvailable: {free_kb} kB\n")
    return folder


def test_a_processor_without_avx_and_little_memory_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_INTEL", (machine.platform.machine().lower(),))
    monkeypatch.setattr(machine, "PROC", proc(tmp_path, "avx avx2", 15_000_000))
    assert [one.level for one in machine.look(tmp_path)] == ["good"] * 3
    proc(tmp_path, "sse4_2", 500_000)
    first, second = worst(machine.look(tmp_path))
    assert "must have AVX" in first.said and "512.0 MB of 16.4 GB are free" in second.said
    monkeypatch.setattr(machine, "PROC", tmp_path / "none")
    assert worst(machine.look(tmp_path)) == []


def test_a_number_of_workers_that_is_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PROC", proc(tmp_path, "avx", 15_000_000))
    monkeypatch.setenv("EDGENAS_WORKERS", "many")
    (one,) = worst(machine.look(tmp_path))
    assert "EDGENAS_WORKERS must be a whole number" in one.said
    monkeypatch.setenv("EDGENAS_WORKERS", "4")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert [one.level for one in machine.look(tmp_path)][1] == "note"


# -- what dead runs left ------------------------------------------------------------------------


def test_a_helper_that_outlived_its_run_is_told(root: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]])"
    sleep = ["-c", "import time; time.sleep(60)", "multiprocessing.spawn", "of a test"]
    subprocess.run([sys.executable, "-c", code, *sleep], cwd=root, check=True)
    mine = [one for one in processes.processes(root.resolve()) if "of a test" in one.command]
    try:
        (helper,) = mine
        here = processes.processes(root.resolve())
        if not processes._is_orphan(helper.parent):
            pytest.skip("orphans are given to a process that nobody knows")
        assert processes.left_over(here) == [helper]
        (one,) = worst(processes.look(root))
        assert one.cure == f"kill {helper.number}"
    finally:
        for one in mine:
            os.kill(one.number, 9)
    deadline = time.monotonic() + 10
    while worst(processes.look(root)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worst(processes.look(root)) == []


def test_workers_of_a_run_that_lives_are_left_alone() -> None:
    command = "python -c from multiprocessing.spawn import spawn_main"
    run = processes.Process(100, 1, "python -m flows run")
    worker, other = processes.Process(101, 100, command), processes.Process(102, 101, command)
    assert processes.left_over([run, worker, other]) == []
    assert processes.left_over([processes.Process(103, 1, command)]) != []
    assert processes.left_over([processes.Process(104, 1, "vim notes about mlflow")]) == []


def test_a_run_that_was_cut_off_is_spoken_of(root: Path) -> None:
    workspace = Workspace.of("mine", root)
    (workspace.state / "search-0123456789abcdef").mkdir(parents=True)
    found = [one for one in processes.look(root) if one.subject == "runs"]
    assert [one.said for one in found] == ["mine was cut off in search"]
    with alone(workspace):
        found = [one for one in processes.look(root) if one.subject == "runs"]
        assert [one.said for one in found] == ["mine is being worked on"]


# -- profiles and servers -----------------------------------------------------------------------


def test_profiles_that_cannot_be_read_are_told_each(root: Path) -> None:
    assert worst(profiles.look(root)) == []
    with (root / "params.yaml").open("a") as file:
        file.write("\n  one: {data: {no_such: 1}}\n  two: {extends: nobody}\n")
    found = worst(profiles.look(root))
    assert [one.said.partition(":")[0] for one in found] == ["one", "two"]
    (root / "params.yaml").write_text("a: [")
    assert len(worst(profiles.look(root))) == 1


def test_servers_that_do_not_answer_are_told_with_the_cure(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worst(servers.look(root)) == []
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    first, second = worst(servers.look(root))
    assert first.said.startswith("PREFECT_API_URL must name a Prefect server that answers, but")
    assert first.cure.startswith("Start that server")
    assert (
        second.said.startswith("MLFLOW_TRACKING_URI must name") and "--no-tracking" in second.cure
    )
