"""What lies where a parameter points is part of the key of each stage that reads it."""

from __future__ import annotations

import os
import shutil
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.pipeline.code import files_of
from tasks.pipeline.named_files import NAMED
from tasks.pipeline.session import run_key
from tasks.pipeline.stages import STAGES, claimed, complete, stage_named
from tasks.run.params import Block, Params
from tasks.run.workspace import Workspace, write_json, write_npz

ROOT = Path(__file__).parents[2]
NAMES = {
    "problem.name",
    "data.format",
    "space.name",
    "search.algorithm",
    "search.evaluator",
    "cost.method",
    "report.title",
    "space.choices",
    "select.objectives",
}
"""Parameters of free text that name no file of a person's."""

Blocks = dict[str, dict[str, Any]]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "artifacts", tmp_path / "state", tmp_path / "store")
    for name in STAGES:
        write_json(made.root / stage_named(name).writes / "out.json", {"made by": name})
    return made


def keys(workspace: Workspace, blocks: Blocks) -> dict[str, str]:
    found = {}
    for name in STAGES:
        with claimed(name, Params.model_validate(blocks), workspace) as claim:
            found[name] = claim.key
    return found


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


def board(folder: Path) -> Path:
    """The profile of a board: a file of the same form as those that ship."""
    return Path(shutil.copyfile(ROOT / "hw" / "devices" / "coral_usb3.yaml", folder / "my.yaml"))


def weights(folder: Path) -> Path:
    path = folder / "other" / "supernet" / "weights.npz"
    write_npz(path, {"kernel": np.zeros(3, np.float32)})
    return path


def text(folder: Path) -> Path:
    path = folder / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n")
    return path


def network(folder: Path) -> Path:
    path = folder / "own.tflite"
    path.write_bytes(b"TFL3")
    return path


def saved_model(folder: Path) -> Path:
    (folder / "own" / "variables").mkdir(parents=True)
    (folder / "own" / "saved_model.pb").write_bytes(b"1")
    path = folder / "own" / "variables" / "variables.index"
    path.write_bytes(b"2")
    return path


# What makes the file that is changed, what parameters name it, and the stages that read it.
Case = tuple[Callable[[Path], Path], Callable[[Path], Blocks], list[str]]
ASKED = ["search", "finetune", "select"]
CASES: dict[str, Case] = {
    "data.vocabulary": (text, lambda f: {"data": {"vocabulary": str(f)}}, ["prepare"]),
    "data.source": (
        text,
        lambda f: {"data": {"format": "csv_text", "source": str(f)}},
        ["prepare"],
    ),
    "supernet.start_from": (
        weights,
        lambda f: {"supernet": {"start_from": str(f)}},
        ["train_supernet"],
    ),
    "supernet.start_from, a run": (
        weights,
        lambda f: {"supernet": {"start_from": str(f.parents[1])}},
        ["train_supernet"],
    ),
    "cost.device": (board, lambda f: {"cost": {"device": str(f)}}, ASKED),
    "cost.device, with a limit": (
        board,
        lambda f: {"cost": {"device": str(f), "target_latency_ms": 2.0}},
        ["train_supernet", *ASKED],
    ),
    "cost.devices": (board, lambda f: {"cost": {"devices": {str(f): {}}}}, ASKED),
    "cost.devices, with a limit": (
        board,
        lambda f: {"cost": {"devices": {str(f): {"target_latency_ms": 2.0}}}},
        ["train_supernet", *ASKED],
    ),
    "cost.devices, with a limit on another one": (
        board,
        lambda f: {"cost": {"devices": {str(f): {}, "tensor_g1": {"target_latency_ms": 2.0}}}},
        ASKED,
    ),
    "report.other_devices": (board, lambda f: {"report": {"other_devices": [str(f)]}}, ["report"]),
    "finetune.teacher": (network, lambda f: {"finetune": {"teacher": str(f)}}, ["finetune"]),
    "finetune.teacher, a folder": (
        saved_model,
        lambda f: {"finetune": {"teacher": str(f.parents[1])}},
        ["finetune"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_stages_that_read_a_named_file_and_no_others_know_its_content(
    case: str, workspace: Workspace, tmp_path: Path
) -> None:
    make, naming, readers = CASES[case]
    file = make(tmp_path)
    blocks = naming(file)
    before = keys(workspace, blocks)
    assert keys(workspace, blocks) == before
    assert differing(keys(workspace, {}), before)  # the case does name a file
    file.write_bytes(file.read_bytes() + b"\n# as a calibration would write it\n")
    assert differing(before, keys(workspace, blocks)) == readers


@pytest.mark.parametrize("case", [name for name in CASES if name != "data.source"])
def test_a_file_that_was_written_again_as_it_was_changes_no_key(
    case: str, workspace: Workspace, tmp_path: Path
) -> None:
    make, naming, _ = CASES[case]
    file = make(tmp_path)
    before = keys(workspace, naming(file))
    os.utime(file, ns=(1, 1))
    assert keys(workspace, naming(file)) == before


def test_every_parameter_that_may_name_a_file_is_under_test() -> None:
    assert {case.partition(",")[0] for case in CASES} == {one.parameter for one in NAMED}
    assert {stage for one in NAMED for stage in one.stages} <= set(STAGES)


def test_every_parameter_of_free_text_is_a_name_or_names_a_file() -> None:
    assert free_texts() == NAMES | {one.parameter for one in NAMED}


def free_texts() -> set[str]:
    """Parameters that take any text, as ``block.key``."""

    def is_text(annotation: Any) -> bool:
        origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return is_text(parts[0])
        if origin in (tuple, typing.Union, types.UnionType):
            return any(map(is_text, parts))
        return annotation is str

    return {
        f"{block}.{key}"
        for block, of in Params.model_fields.items()
        for key, field in typing.cast(type[Block], of.annotation).model_fields.items()
        if is_text(field.annotation)
    }


def test_a_new_calibration_at_the_same_path_is_not_kept(
    workspace: Workspace, tmp_path: Path
) -> None:
    file = board(tmp_path)
    params = Params.model_validate({"cost": {"device": str(file)}})
    for name in STAGES:
        with claimed(name, params, workspace) as claim:
            complete(claim, params, workspace, {"stage": name})
    file.write_text(file.read_text().replace("value: 0.2861", "value: 2.861", 1))
    kept = {}
    for name in STAGES:
        with claimed(name, params, workspace) as claim:
            kept[name] = claim.kept is not None
    # The report reads what the stages before it write: it is kept only as long as they are.
    assert [name for name in STAGES if kept[name]] == ["prepare", "train_supernet", "report"]


def test_a_search_with_another_board_at_the_same_path_is_another_run_in_mlflow(
    tmp_path: Path,
) -> None:
    file = board(tmp_path)
    params = Params.model_validate({"cost": {"device": str(file)}})
    before = run_key("mine", params)
    assert run_key("mine", params) == before
    assert run_key("default", params) != before
    file.write_text(file.read_text() + "\n")
    assert run_key("mine", params) != before


@pytest.mark.parametrize(
    "folder", ["devices", "families/edge_tpu/chips", "families/edge_tpu/compilers"]
)
def test_what_a_device_that_ships_consists_of_is_code(folder: str) -> None:
    files = set(files_of("tasks.search_architectures"))
    assert set() < set((ROOT / "hw" / folder).glob("*.yaml")) <= files


def test_pictures_beside_annotations_belong_to_the_data(
    workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "pets" / "annotations" / "instances_train.json"
    write_json(file, {})
    picture = tmp_path / "pets" / "images" / "0.png"
    picture.parent.mkdir()
    picture.write_bytes(b"1")
    blocks = {"data": {"format": "coco", "source": str(file)}}
    before = keys(workspace, blocks)
    picture.write_bytes(b"12")
    assert differing(before, keys(workspace, blocks)) == ["prepare"]


def test_data_behind_links_is_looked_at_and_links_that_lead_back_do_no_harm(
    workspace: Workspace, tmp_path: Path
) -> None:
    root, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "cats").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    blocks = {"data": {"format": "image_folder", "source": str(root)}}
    before = keys(workspace, blocks)
    (elsewhere / "a.png").write_bytes(b"1")
    assert differing(before, keys(workspace, blocks)) == ["prepare"]
