"""People's mistakes: one line that says what must hold, status 2, at once, and nothing written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows import __main__ as cli
from flows import server
from spaces.menu import load_baselines
from tasks.pipeline.stages import STAGES, alone, stage_named
from tasks.run.params_file import load_params
from tasks.run.workspace import Workspace
from tests.prepared import prepared

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder where nothing has run, and no server may be started."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server, "prefect_server", lambda: pytest.fail("a server was started"))
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of a command that is refused."""
    assert cli.main(words) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error: ") and error.count("\n") == 1
    return str(error)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("search.budgett=3", "unknown key search.budgett"),
        ("search.budget=0", "search.budget must be at least 1, but got 0"),
        ("data.image_size=4", "data.image_size must be at least 8, but got 4"),
        ("search.budget=many", "search.budget must be a whole number, but got 'many'"),
        ("search.budget", "--set must be given as block.key=value"),
        ("space.name=mobilenet_v9", "a search space must be one of autoseg_edgetpu, "),
        ("search.algorithm=oracle", "a search algorithm must be one of coarse_to_fine, "),
        ("cost.device=coral_usb9", "device must be one of any_processor, "),
        ("cost.device=mine/board.yaml", "or a path to a YAML file, but got 'mine/board.yaml'"),
        ("cost.method=guess", "cost model must be one of analytic, "),
        ("data.format=tar", "data.format must be one of coco, "),
        ("cost.devices={coral_usb9: {}}", "device must be one of any_processor, "),
        ("cost.devices={coral_usb3: {}}", "coral_usb3 of cost.devices beside coral_usb3 of cost."),
        ("cost.devices={a/one.yaml: {}, b/one.yml: {}}", "devices must differ by name"),
        ("cost.devices={tensor_g1: {}, tensor_g1: {}}", "the key tensor_g1 twice"),
        ("cost.devices=[tensor_g1]", "must be devices with their limits, such as {ethos_u55_128"),
        ("cost.devices.tensor_g1=2", "tensor_g1 must have its limits, such as {target_latency"),
        ("cost.devices.tensor_g1.target=2", "tensor_g1 may have target_latency_ms, but got 'tar"),
        ("cost.devices.tensor_g1.target_latency_ms=-1", "must be a number above 0 or null"),
        ("cost.devices={my board.yaml: {}}", "must be called by letters, digits"),
        ("select.objectives.tensor_g1/latency_ms=min", "Name tensor_g1 in cost.devices"),
        ("select.objectives=[beauty:max]", "an objective must be one of top1, "),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_starts(
    setting: str, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refusal(capsys, "run", "--set", setting)
    assert files(folder) == {"params.yaml"}


@pytest.mark.parametrize("command", [("run",), ("schedule", "--cron", "0 3 * * *"), ("status",)])
def test_an_unknown_profile_is_refused_with_those_that_exist(
    command: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, *command, "--profile", "nope")
    assert "profile must be one of " in said and "tiny" in said and "'nope'" in said
    assert files(folder) == {"params.yaml"}


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_before_its_inputs_names_what_is_missing(
    stage: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, "run", "--stage", stage)
    assert f"stage {stage} must find artifacts/data, but there is none." in said
    assert files(folder) == {"params.yaml"}


def test_a_missing_folder_of_pictures_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("run", "--set", "data.format=image_folder", "data.source=data/mine")
    assert "but there is no data/mine." in refusal(capsys, *words)
    assert files(folder) == {"params.yaml"}


def test_an_empty_class_folder_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine" / "dogs").mkdir(parents=True)
    (folder / "mine" / "cats").mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "mine" / "cats" / "a.png")
    before = files(folder)
    words = ("run", "--set", "data.format=image_folder", "data.source=mine")
    assert "dogs" in refusal(capsys, *words)
    assert files(folder) == before


def test_energy_needs_a_device_that_has_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "hw" / "devices" / "coral_usb3.yaml").read_text()
    (folder / "mine.yaml").write_text(text.split("\nenergy:")[0] + "\n")
    words = ("run", "--set", "cost.device=./mine.yaml", "select.objectives=[energy_mj:min]")
    assert "got device ./mine.yaml without an energy table" in refusal(capsys, *words)


def test_a_second_run_is_refused_while_one_is_going_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import time; from tasks.pipeline.stages import alone\n"
        "from tasks.run.workspace import Workspace\n"
        "with alone(Workspace.of()): print('in', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        try:
            said = refusal(capsys, "run")
        finally:
            other.kill()
    assert (
        f"one run at a time must work in artifacts, but got a second one while process {other.pid}"
        in said
    )
    with alone(Workspace.of()):  # the lock went with its owner
        pass


def test_the_lock_may_be_taken_again_by_its_owner(folder: Path) -> None:
    with alone(Workspace.of()), alone(Workspace.of()):
        pass


def test_groups_that_do_not_divide_are_refused() -> None:
    decisions = load_baselines("mobilenet_edgetpu_v2_small")["fused_s"].values
    wrong = {"stage2/block1/op": "ibn_fused_grouped", "stage2/block1/channels_per_group": 7}
    architecture = json.dumps({**decisions, **wrong})
    shown: Any = subprocess.run(
        [sys.executable, "-m", "spaces", "show", "mobilenet_edgetpu_v2_small", architecture],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (2, "", 1)
    assert "stage2/block1/channels_per_group must be" in shown.stderr
    assert "but got 7" in shown.stderr


def test_a_refusal_takes_less_than_a_second_or_two(folder: Path) -> None:
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-m", "flows", "run", "--set", "search.budget=-1"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    # Of the processor, whatever else the machine does; a server alone takes five.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 5
    assert files(folder) == {"params.yaml"}


@pytest.mark.parametrize("profile", [None, "tiny"])
def test_the_parameters_of_the_project_pass(profile: str | None) -> None:
    from tasks.pipeline.preflight import check

    check(load_params(ROOT / "params.yaml", profile))


@pytest.mark.parametrize("damage", ["cut", "gone"])
@pytest.mark.parametrize("stage", ["train_supernet", "search", "finetune"])
def test_prepared_data_that_is_damaged_is_refused_before_anything_starts(
    stage: str, damage: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = prepared("classification", folder)
    for name in stage_named(stage).reads:
        (workspace.root / name).mkdir(exist_ok=True)
    path = workspace.data / "train.npz"
    if damage == "gone":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size // 2)
    told = refusal(capsys, "run", "--stage", stage)
    assert "data/train.npz must" in told and "python -m flows run --stage prepare." in told
