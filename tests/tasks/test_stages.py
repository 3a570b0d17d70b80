"""A stage runs when its parameters, its input or its code changed, and never twice at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.pipeline import stages
from tasks.pipeline.code import ROOMS, files_of
from tasks.pipeline.stages import (
    MODULES,
    STAGES,
    StageError,
    claimed,
    stage_named,
    timed,
    timings,
)
from tasks.run.params import Params
from tasks.run.workspace import Workspace, write_json

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One in which every stage finds what it reads."""
    made = Workspace(tmp_path / "artifacts", tmp_path / "state", tmp_path / "store")
    for name in STAGES:
        folder = made.root / stage_named(name).writes
        write_json(folder / "out.json", {"made by": name})
    return made


def _params(**blocks: Any) -> Params:
    return Params.model_validate(blocks)


def _key(name: str, workspace: Workspace, **blocks: Any) -> str:
    with claimed(name, _params(**blocks), workspace) as claim:
        return claim.key


def _complete(name: str, workspace: Workspace, **blocks: Any) -> None:
    params = _params(**blocks)
    with claimed(name, params, workspace) as claim:
        assert claim.kept is None
        stages.complete(claim, params, workspace, {"stage": name})


def _kept(name: str, workspace: Workspace, **blocks: Any) -> Any:
    with claimed(name, _params(**blocks), workspace) as claim:
        return claim.kept


# -- keys ---------------------------------------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "problem": {"name": "detection"},
    "data": {"image_size": 16},
    "space": {"name": "mobilenet_v2_small"},
    "supernet": {"steps": 7},
    "search": {"budget": 7},
    "cost": {"device": "tensor_g1"},
    "finetune": {"epochs": 7},
    "select": {"objectives": ["top1:max"]},
    "report": {"title": "Another"},
    "runtime": {"threads": 1},
}
READERS = {
    "problem": {"train_supernet", "search", "finetune", "select"},
    "data": {"prepare"},
    "space": {"train_supernet", "search", "finetune"},
    "supernet": {"train_supernet"},
    "search": {"search", "finetune"},
    "cost": {"train_supernet", "search", "finetune", "select"},
    "finetune": {"finetune"},
    "runtime": {"train_supernet", "search", "finetune"},
}


def test_every_block_of_the_parameters_is_under_test() -> None:
    assert set(CHANGES) == set(Params.model_fields)


@pytest.mark.parametrize("block", CHANGES)
def test_key_changes_with_the_parameters_that_the_stage_takes(
    block: str, workspace: Workspace
) -> None:
    for name in STAGES:
        same = _key(name, workspace) == _key(name, workspace, **{block: CHANGES[block]})
        assert same == (block not in stage_named(name).blocks()), name


@pytest.mark.parametrize("block", READERS)
def test_stages_take_the_parameters_they_need_and_no_more(block: str) -> None:
    readers = {name for name in STAGES if block in stage_named(name).blocks()}
    assert readers - {"report"} == READERS[block]  # the report shows all parameters


@pytest.mark.parametrize("folder", ["data", "supernet", "search", "finalists", "selection"])
def test_key_changes_with_the_files_that_the_stage_reads(
    folder: str, workspace: Workspace
) -> None:
    before = {name: _key(name, workspace) for name in STAGES}
    write_json(workspace.root / folder / "out.json", {"made by": "somebody else"})
    changed = {name for name in STAGES if _key(name, workspace) != before[name]}
    assert changed == {name for name in STAGES if folder in stage_named(name).reads}
    assert changed


def test_key_changes_with_the_name_of_a_file(workspace: Workspace) -> None:
    before = _key("search", workspace)
    (workspace.data / "out.json").rename(workspace.data / "other.json")
    assert _key("search", workspace) != before


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rooms elsewhere, where they may be changed."""
    root: Path = tmp_path_factory.mktemp("copied")
    for room in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(stages.ROOT / room, root / room, ignore=ignored)
    return root


@pytest.mark.parametrize(
    ("path", "expected"),
    {
        "tasks/report/page.css": {"report"},
        "tasks/finetune_qat.py": {"finetune"},
        "tasks/evaluators/trained.py": {"search"},
        "tasks/tracking/tracker.py": set(),  # it shows what was found
        "tasks/pipeline/preflight.py": set(),
        "tasks/kinds/masks.py": {"prepare"},
        "tasks/problems/detection.py": set(STAGES) - {"prepare"},
        "hw/devices/coral_usb3.yaml": set(STAGES) - {"prepare"},
        "spaces/catalog/mobilenet_v2.py": set(STAGES) - {"prepare"},
        "tasks/run/workspace.py": set(STAGES),
    }.items(),
)
def test_a_change_of_code_reruns_the_stages_that_depend_on_it(
    path: str,
    expected: set[str],
    copied: Path,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stages, "ROOT", copied)
    before = {name: _key(name, workspace) for name in STAGES}
    with (copied / path).open("a") as file:
        file.write("\n")
    assert {name for name in STAGES if _key(name, workspace) != before[name]} == expected


def test_no_module_is_overlooked() -> None:
    """What no stage depends on looks after runs, or is a command's."""
    reached = {path for name in MODULES for path in files_of(f"tasks.{name}")}
    rest = {path for room in ("spaces", "tasks") for path in (stages.ROOT / room).rglob("*.py")}
    named = {str(path.relative_to(stages.ROOT)) for path in rest - reached}
    others = {
        name
        for name in named
        if not name.startswith(("tasks/pipeline/", "tasks/shipping/", "tasks/tracking/"))
    }
    assert others == {
        "spaces/__main__.py",
        "spaces/defect.py",
        "spaces/heads/network_table.py",
        "spaces/notation.py",
        "spaces/search_support/replay.py",
        "spaces/size.py",
        "tasks/bundle_finalist.py",
        "tasks/calibrate_device.py",
        "tasks/candidates/architecture_table.py",
        "tasks/candidates/design.py",
        "tasks/check_profile.py",
        "tasks/cost_architectures.py",
        "tasks/learning/random_file.py",
        "tasks/measure_networks.py",
        "tasks/run/disk.py",
        "tasks/run/piece_process.py",  # it only carries pieces to and fro
        "tasks/run/params_file.py",  # a key has the parameters themselves
        "tasks/run/spec.py",
        "tasks/version_artifacts.py",
        "tasks/write_kit.py",
    }


# -- kept outcomes ------------------------------------------------------------------------------


def test_outcome_is_kept_while_nothing_changed(workspace: Workspace) -> None:
    _complete("search", workspace)
    assert _kept("search", workspace) == {"stage": "search"}
    assert _kept("search", workspace, supernet={"steps": 7}) == {"stage": "search"}


def test_stage_runs_again_with_other_parameters_and_its_old_outcome_is_not_forgotten(
    workspace: Workspace,
) -> None:
    _complete("search", workspace)
    assert _kept("search", workspace, search={"budget": 7}) is None
    assert _kept("search", workspace) == {"stage": "search"}  # nothing was written meanwhile


@pytest.mark.parametrize("damage", ["delete", "empty", "change", "add"])
def test_stage_runs_again_when_its_files_are_not_what_it_wrote(
    workspace: Workspace, damage: str
) -> None:
    _complete("search", workspace)
    out = workspace.search / "out.json"
    if damage in ("delete", "empty"):
        out.unlink()
    if damage == "delete":
        workspace.search.rmdir()
    if damage == "change":
        out.write_text("{}")
    if damage == "add":
        (workspace.search / "more.json").write_text("{}")
    assert _kept("search", workspace) is None


def test_stage_runs_again_when_its_input_changed(workspace: Workspace) -> None:
    _complete("search", workspace)
    write_json(workspace.supernet / "out.json", {"trained": "anew"})
    assert _kept("search", workspace) is None


def test_missing_input_names_the_folder_and_the_cure(workspace: Workspace) -> None:
    (workspace.supernet / "out.json").unlink()
    workspace.supernet.rmdir()
    with pytest.raises(
        StageError, match=r"stage search must find .*supernet, but .* all: python -m flows run"
    ):
        _key("search", workspace)


def test_code_that_changed_meanwhile_makes_no_outcome(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = _params()
    with claimed("search", params, workspace) as claim:
        monkeypatch.setattr(stages, "code_digest", lambda module: "other")
        with pytest.raises(StageError, match="stage search must run on one version of code"):
            stages.complete(claim, params, workspace, {})
    monkeypatch.undo()
    assert _kept("search", workspace) is None


def test_unknown_stage_lists_what_there_is() -> None:
    with pytest.raises(StageError, match=r"one of prepare, .*, report, but got 'deploy'"):
        stage_named("deploy")


# -- state --------------------------------------------------------------------------------------


def _leave_state(workspace: Workspace, **blocks: Any) -> Path:
    """A checkpoint in the state folder of a stage that is then cut off."""
    with claimed("search", _params(**blocks), workspace) as claim:
        path = claim.workspace.state / "checkpoint.npz"
        path.write_bytes(b"x")
        assert claim.workspace.root == workspace.root
    return path


def test_state_waits_for_the_same_key(workspace: Workspace) -> None:
    path = _leave_state(workspace)
    with claimed("search", _params(), workspace) as claim:
        assert claim.workspace.state == path.parent
        assert path.exists()


def test_state_is_cleared_when_the_key_changes(workspace: Workspace) -> None:
    path = _leave_state(workspace)
    other = _leave_state(workspace, search={"budget": 7})
    assert other.parent != path.parent
    assert not path.parent.exists()
    assert other.exists()


def test_state_of_one_stage_is_none_of_the_others_business(workspace: Workspace) -> None:
    path = _leave_state(workspace)
    _key("finetune", workspace)
    _key("report", workspace)
    assert path.exists()


def test_state_goes_when_the_stage_is_done(workspace: Workspace) -> None:
    path = _leave_state(workspace)
    _complete("search", workspace)
    assert not path.parent.exists()


def test_files_half_written_by_a_killed_run_are_removed(workspace: Workspace) -> None:
    draft = workspace.search / ".candidates.json.abc.tmp"
    draft.write_text("[")
    stranger = workspace.data / ".x.tmp"
    stranger.write_text("")
    _key("search", workspace)
    assert not draft.exists()
    assert stranger.exists()
    assert (workspace.search / "out.json").exists()


# -- lock ---------------------------------------------------------------------------------------

SECOND = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tasks.run.params import Params
from tasks.pipeline.stages import StageError, claimed
from tasks.run.workspace import Workspace
base = Path({base!r})
try:
    with claimed({name!r}, Params(), Workspace(base / "artifacts", base / "state", base)):
        print("claimed")
except StageError as error:
    print(error)
"""


def _second_process(workspace: Workspace, name: str) -> str:
    base = str(workspace.root.parent)
    program = SECOND.format(root=str(ROOT), base=base, name=name)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_second_process_is_refused_while_the_first_works(workspace: Workspace) -> None:
    with claimed("search", _params(), workspace):
        message = _second_process(workspace, "search")
        assert str(workspace.root) in message
        assert str(os.getpid()) in message
        assert "claimed" not in message
    assert _second_process(workspace, "search") == "claimed"


def test_lock_goes_with_an_error(workspace: Workspace) -> None:
    with pytest.raises(KeyboardInterrupt), claimed("search", _params(), workspace):
        raise KeyboardInterrupt
    assert _second_process(workspace, "search") == "claimed"


# -- timing -------------------------------------------------------------------------------------


def test_seconds_of_an_interrupted_stage_add_up_and_a_new_one_starts_at_zero(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 3.0, 10.0, 14.0, 20.0, 21.0])
    monkeypatch.setattr(stages.time, "monotonic", lambda: next(now))
    with claimed("search", _params(), workspace), timed("search", workspace):
        pass
    with (
        pytest.raises(KeyboardInterrupt),
        claimed("search", _params(), workspace),
        timed("search", workspace),
    ):
        raise KeyboardInterrupt
    assert timings(workspace) == {"search": 7.0}
    other = _params(search={"budget": 7})
    with claimed("search", other, workspace), timed("search", workspace):
        pass
    assert timings(workspace) == {"search": 1.0}
    assert timings(Workspace(workspace.root, workspace.state / "none", workspace.store)) == {}
