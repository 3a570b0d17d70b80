"""The same stages through DVC: the same bytes, nothing twice, and results without training."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.pipeline.stages import STAGES
from tasks.run.params_file import merge

pytestmark = pytest.mark.slow


class Repository:
    """A git checkout whose default run is the smoke run."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self._environment = root, environment

    def call(self, *words: str) -> str:
        """Standard output of a command that must succeed."""
        done = subprocess.run(
            words,
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def dvc(self, *words: str) -> str:
        return self.call(sys.executable, "-m", "dvc", *words)

    def commit(self) -> None:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--message", "state")

    def set_budget(self, budget: int) -> None:
        path = self.root / "params.yaml"
        tree = yaml.safe_load(path.read_text())
        tree["search"]["budget"] = budget
        path.write_text(yaml.safe_dump(tree, sort_keys=False))

    def outs(self) -> dict[str, str]:
        """MD5 of every out, as locked."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())
        stages: Sequence[Any] = lock["stages"].values()
        return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


def ran(output: str) -> list[str]:
    """Stages that ``dvc repro`` ran."""
    return re.findall(r"^Running stage '(?:.*:)?(\w+)'", output, re.M)


def fresh(
    template: Path, parent: Path, environment: dict[str, str], *, as_default: bool = True
) -> Repository:
    """A repository with a sibling remote; the smoke run is its default, or stays a profile."""
    root = Path(shutil.copytree(template, parent / "project"))
    if as_default:
        path = root / "params.yaml"
        tree = yaml.safe_load(path.read_text())
        smoke = tree["profiles"].pop("smoke")
        path.write_text(yaml.safe_dump(merge(tree, smoke), sort_keys=False))
    repository = Repository(root.resolve(), environment)
    repository.call("git", "init", "--quiet")
    repository.commit()
    return repository


@pytest.fixture(scope="module")
def environment(
    own_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Commands of this Python first, no settings but the repository's."""
    home = tmp_path_factory.mktemp("home")
    who = {
        f"GIT_{role}_{what}": "a@b.c"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    return {
        **own_environment,
        **who,
        "HOME": str(home),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "global"),
        "PATH": f"{Path(sys.executable).parent}:{own_environment['PATH']}",
    }


@pytest.fixture(scope="module")
def flowed(
    template: Path, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Repository:
    """The default run by the flow, which versions it."""
    repository = fresh(template, tmp_path_factory.mktemp("flowed"), environment)
    said = repository.call(sys.executable, "-m", "flows", "run")
    assert "Versions  recorded in dvc.lock, pushed to the default remote" in said
    return repository


@pytest.fixture(scope="module")
def reproduced(
    template: Path, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Repository:
    """The same by ``dvc repro``."""
    repository = fresh(template, tmp_path_factory.mktemp("reproduced"), environment)
    assert ran(repository.dvc("repro")) == list(STAGES)
    return repository


def test_both_drivers_lock_the_same_bytes(flowed: Repository, reproduced: Repository) -> None:
    assert flowed.outs() == reproduced.outs()
    assert len(flowed.outs()) == len(STAGES)


def test_after_a_flow_run_dvc_has_nothing_to_do(flowed: Repository) -> None:
    assert "up to date" in flowed.dvc("status")
    assert ran(flowed.dvc("repro")) == []


def test_a_clone_gets_the_models_without_training(
    flowed: Repository, environment: dict[str, str]
) -> None:
    flowed.commit()
    clone = Repository(flowed.root.with_name("clone"), environment)
    flowed.call("git", "clone", "--quiet", str(flowed.root), str(clone.root))
    clone.dvc("pull", "finetune")
    names = sorted(
        path.relative_to(clone.root) for path in clone.root.glob("artifacts/**/*.tflite")
    )
    assert len(names) == 8  # two finalists: float, ptq, qat and int8
    for name in names:
        assert (clone.root / name).read_bytes() == (flowed.root / name).read_bytes()
    assert not (clone.root / ".edgenas").exists()


def test_a_second_repro_runs_nothing_and_a_changed_budget_the_search_and_what_follows(
    reproduced: Repository,
) -> None:
    assert ran(reproduced.dvc("repro")) == []
    reproduced.set_budget(7)
    assert ran(reproduced.dvc("repro")) == list(STAGES[2:])


def test_repro_takes_nothing_from_a_run_that_is_on_its_way(
    reproduced: Repository, environment: dict[str, str]
) -> None:
    hold = (
        "from tasks.pipeline.stages import alone; from tasks.run.workspace import Workspace\n"
        "with alone(Workspace.of(None)): print('held', flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    words = [sys.executable, "-c", hold]
    with subprocess.Popen(words, cwd=reproduced.root, env=environment, **pipes) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(AssertionError, match="one run at a time must work in artifacts"):
            reproduced.dvc("repro", "--force")
        holder.communicate(b"\n")
    assert (reproduced.root / "artifacts" / "data" / "manifest.json").exists()
    assert ran(reproduced.dvc("repro")) == []


def test_experiments_vary_a_parameter_here_and_queued(reproduced: Repository) -> None:
    reproduced.commit()
    said = reproduced.dvc("exp", "run", "--name", "here", "-S", "search.budget=8")
    assert ran(said) == list(STAGES[2:])
    assert "search.budget" not in reproduced.dvc("status")
    # Queued is what the folder holds now, so of this one the report alone is left to do.
    reproduced.dvc("exp", "run", "--queue", "--name", "queued", "-S", "report.title=Another")
    assert ran(reproduced.dvc("exp", "run", "--run-all")) == ["report"]
    shown = csv.DictReader(reproduced.dvc("exp", "show", "--csv").splitlines())
    rows = {row["Experiment"]: row for row in shown}
    set_there = [(rows[n]["search.budget"], rows[n]["report.title"]) for n in ("here", "queued")]
    assert set_there == [("8", "Edge NAS"), ("8", "Another")]
    assert {rows[name]["models"] for name in ("here", "queued")} == {"2"}  # finalists of SMOKE


def test_a_profile_is_recorded_reproduced_and_pulled(
    template: Path, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> None:
    parent, file = tmp_path_factory.mktemp("profile"), "runs/smoke/dvc.yaml"
    made = fresh(template, parent, environment, as_default=False)
    made.call(sys.executable, "-m", "flows", "dvc", "--profile", "smoke")
    said = made.call(sys.executable, "-m", "flows", "run", "--profile", "smoke")
    assert "Versions  recorded in dvc.lock, pushed to the default remote" in said
    assert ran(made.dvc("repro", file)) == []
    made.commit()
    assert {"runs/smoke/dvc.lock", file} == set(made.call("git", "ls-files", "runs").split())

    clone = Repository(made.root.with_name("clone"), environment)
    made.call("git", "clone", "--quiet", str(made.root), str(clone.root))
    clone.dvc("pull", file)
    names = [path.relative_to(made.root) for path in made.root.glob("runs/smoke/**/*.tflite")]
    assert len(names) == 8  # two finalists: float, ptq, qat and int8
    for name in names:
        assert (clone.root / name).read_bytes() == (made.root / name).read_bytes()
    assert ran(clone.dvc("repro", "--dry", file)) == []

    # DVC asks for all stages of a profile that changed; the flow knows which of them still hold.
    said = made.dvc("exp", "run", "-S", "+profiles.smoke.report.title=Another", file)
    assert ran(said) == list(STAGES)
    assert re.findall(r"^(\w+): nothing changed, kept", said, re.M) == list(STAGES[:-1])
    assert ran(made.dvc("repro", file)) == []
