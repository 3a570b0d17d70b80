"""A stage that reads what DVC does not know of is not run for DVC, nor recorded there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows import __main__ as cli
from tasks import version_artifacts
from tasks.pipeline.dvc_pipeline import PipelineError, check
from tasks.pipeline.stages import STAGES
from tasks.run.params import Params

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose device is a file of its own."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    tree["cost"]["device"] = "boards/mine.yaml"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / "boards").mkdir()
    device = (ROOT / "hw" / "devices" / "coral_usb3.yaml").read_text()
    (tmp_path / "boards" / "mine.yaml").write_text(device)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PARAMS = Params.model_validate({"cost": {"device": "boards/mine.yaml"}})


def declare(root: Path, stage: str, dep: str) -> None:
    path = root / "dvc.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["stages"][stage]["deps"].append(dep)
    path.write_text(yaml.safe_dump(tree, sort_keys=False))


def refused(params: Params, root: Path) -> list[str]:
    found = []
    for name in STAGES:
        try:
            check(name, params, root)
        except PipelineError:
            found.append(name)
    return found


def test_a_named_file_that_is_no_dep_is_refused_with_the_cure(root: Path) -> None:
    assert refused(PARAMS, root) == ["search", "finetune", "select"]
    with pytest.raises(
        PipelineError,
        match=r"stage search of dvc.yaml must have boards/mine.yaml among its deps, for "
        r"cost.device names it, but has not: .* Add it there.",
    ) as caught:
        check("search", PARAMS, root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dep", ["boards/mine.yaml", "./boards/mine.yaml", "boards", "boards/"])
def test_a_file_is_a_dep_by_its_path_or_by_a_folder_it_lies_in(dep: str, root: Path) -> None:
    declare(root, "search", dep)
    assert refused(PARAMS, root) == ["finetune", "select"]


def test_a_dep_whose_name_begins_alike_is_another_one(root: Path) -> None:
    declare(root, "search", "boards/mine")
    assert "search" in refused(PARAMS, root)


def test_a_device_that_ships_is_among_the_deps_by_its_room(root: Path) -> None:
    assert refused(Params(), root) == []
    inside = Params.model_validate({"cost": {"device": "hw/devices/own.yaml"}})
    assert refused(inside, root) == []


@pytest.mark.parametrize("text", [None, "", "stages: [", "stages: {other: {cmd: x}}"])
def test_without_such_a_stage_there_is_nothing_to_refuse(text: str | None, root: Path) -> None:
    path = root / "dvc.yaml"
    path.unlink() if text is None else path.write_text(text)
    assert refused(PARAMS, root) == []


@pytest.mark.parametrize(
    ("running", "is_checked"),
    [("search", True), ("../dvc.yaml:search", True), ("other", False), (None, False)],
)
def test_the_command_is_refused_where_dvc_runs_it(
    running: str | None,
    is_checked: bool,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    if running is not None:
        monkeypatch.setenv("DVC_STAGE", running)
    for folder in ("data", "supernet"):
        (root / "artifacts" / folder).mkdir(parents=True)
    # Behind the refusal: a lock that somebody else holds.
    monkeypatch.setattr(cli, "alone", lambda _: pytest.fail("it went on"))
    if is_checked:
        assert cli.main(["run", "--stage", "search"]) == 2
        assert "must have boards/mine.yaml among its deps" in capsys.readouterr().err
    else:
        with pytest.raises(pytest.fail.Exception, match="it went on"):
            cli.main(["run", "--stage", "search"])


def test_a_whole_run_is_not_recorded_and_says_why(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(version_artifacts, "_dvc", lambda _, *words: called.append(words[0]))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    for folder in (".dvc", ".git"):
        (root / folder).mkdir()
    assert version_artifacts.run(root, PARAMS).startswith("not recorded in dvc.lock: stage search")
    assert not called
    for stage in ("search", "finetune", "select"):
        declare(root, stage, "boards")
    assert version_artifacts.run(root, PARAMS).startswith("recorded in dvc.lock")
    assert called == ["commit", "push"]
