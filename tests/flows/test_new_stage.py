"""A stage, added as a stranger would: a file, a row of the table, and its part of ``dvc.yaml``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.flows.conftest import Checkout

STAGE = '''"""Counts the samples of each split."""

from __future__ import annotations

from typing import Any

from tasks.run.manifest import DataManifest
from tasks.run.params import DataParams
from tasks.run.progress import Progress
from tasks.run.workspace import Workspace, write_json


def run(data: DataParams, workspace: Workspace, progress: Progress) -> dict[str, Any]:
    """Write ``counts.json``."""
    splits = DataManifest.read(workspace).splits
    counts = {split: one.items for split, one in splits.items()}
    write_json(workspace.root / "counts" / "counts.json", counts)
    return {"format": data.format, **counts}
'''
ROW = """    Stage("count", "count_samples", "Counts the samples.", ("data",), "counts"),
)
STAGES ="""
DVC = """  count:
    desc: Count the samples of each split
    cmd: python -m flows run --stage count
    deps:
      - artifacts/data
      - tasks/count_samples.py
      - tasks/run/
    params:
      - data
      - effort
      - efforts
    outs:
      - artifacts/counts
"""


@pytest.fixture
def extended(checkout: Checkout) -> Checkout:
    """A checkout with one stage more."""
    root = checkout.root
    (root / "tasks" / "count_samples.py").write_text(STAGE)
    table = root / "tasks" / "pipeline" / "stages.py"
    before = table.read_text()
    assert before.count(")\nSTAGES =") == 1
    table.write_text(before.replace(")\nSTAGES =", ROW))
    pipeline = root / "dvc.yaml"
    stages, metrics = pipeline.read_text().split("\nmetrics:")
    pipeline.write_text(f"{stages}\n{DVC}metrics:{metrics}")
    return checkout


def test_a_stage_is_one_file_a_row_and_its_part_of_dvcs_file(
    extended: Checkout, own_environment: Mapping[str, str]
) -> None:
    for stage in ("prepare", "count"):
        ended = extended.run("run", "--profile", "smoke", "--stage", stage, "--no-tracking")
        assert ended.returncode == 0, ended.stderr
    manifest = extended.json("data", "manifest.json")
    counts = extended.json("counts", "counts.json")
    assert counts == {name: one["items"] for name, one in manifest["splits"].items()}
    again = extended.run("run", "--profile", "smoke", "--stage", "count", "--no-tracking")
    assert "count: nothing changed, kept" in again.stdout + again.stderr
    rules = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "tests/test_house.py"]
    held = subprocess.run(
        [*rules, "-k", "stage"],
        cwd=extended.root,
        env={**own_environment},
        capture_output=True,
        text=True,
    )
    assert held.returncode == 0, held.stdout
