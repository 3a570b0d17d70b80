"""DVC knows what a stage depends on, or the stage is neither run for it nor recorded there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import dulwich.repo
import pytest
import yaml
from dulwich.ignore import IgnoreFilterManager

from flows import __main__ as cli
from tasks import version_artifacts
from tasks.pipeline.dvc_pipeline import EFFORTS, PipelineError, check, pipeline, write
from tasks.pipeline.stages import STAGES, stage_named
from tasks.run.params import Params
from tasks.run.params_file import load_params, profile_names

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


def refused(params: Params, root: Path, profile: str | None = None) -> list[str]:
    found = []
    for name in STAGES:
        try:
            check(name, profile, params, root)
        except PipelineError:
            found.append(name)
    return found


def test_a_named_file_that_is_no_dep_is_refused_with_the_cure(root: Path) -> None:
    assert refused(PARAMS, root) == ["search", "finetune", "select"]
    with pytest.raises(
        PipelineError,
        match=r"stage search of dvc.yaml must have boards/mine.yaml .named by cost.device. "
        r"among its deps, but has not: .* Add it there.",
    ) as caught:
        check("search", None, PARAMS, root)
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


def test_data_that_is_a_name_is_no_dep(root: Path) -> None:
    named = Params.model_validate({"data": {"format": "keras", "source": "mnist"}})
    assert refused(named, root) == []
    lying_there = Params.model_validate({"data": {"format": "csv_text", "source": "boards"}})
    assert refused(lying_there, root) == ["prepare"]


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
        assert (
            "must have boards/mine.yaml (named by cost.device) among its deps"
            in capsys.readouterr().err
        )
    else:
        with pytest.raises(pytest.fail.Exception, match="it went on"):
            cli.main(["run", "--stage", "search"])


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands that DVC is given, outside of a stage that it runs."""
    commands: list[str] = []
    monkeypatch.setattr(
        version_artifacts, "_dvc", lambda _, *words: commands.append(" ".join(words))
    )
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return commands


def test_a_whole_run_is_not_recorded_and_says_why(root: Path, called: list[str]) -> None:
    for folder in (".dvc", ".git"):
        (root / folder).mkdir()
    assert version_artifacts.run(root, None, PARAMS).startswith(
        "not recorded in dvc.lock: stage search"
    )
    assert not called
    for stage in ("search", "finetune", "select"):
        declare(root, stage, "boards")
    assert version_artifacts.run(root, None, PARAMS).startswith("recorded in dvc.lock")
    assert called == [
        "commit --quiet --force dvc.yaml",
        "push --quiet dvc.yaml",
    ]


# -- of a profile -------------------------------------------------------------------------------

PROFILES = """
efforts: {quick: {supernet: {steps: 0}}}
profiles:
  mine: {extends: middle, cost: {device: boards/mine.yaml}}
  middle: {extends: bottom, effort: quick}
  bottom: {data: {format: csv_text, source: texts}}
"""


@pytest.fixture
def mine(root: Path) -> Path:
    """A checkout with a profile of three layers, whose device and data are files."""
    (root / "params.yaml").write_text(PROFILES)
    for folder in ("texts", "more"):
        (root / folder).mkdir()
    shutil.copyfile(root / "boards" / "mine.yaml", root / "boards" / "other.yaml")
    return root


def written(root: Path) -> dict[str, Any]:
    path = write("mine", load_params(root / "params.yaml", "mine"), root)
    assert path == root / "runs" / "mine" / "dvc.yaml"
    return dict(yaml.safe_load(path.read_text()))


def test_a_profiles_file_names_all_that_its_stages_depend_on(mine: Path) -> None:
    stages = written(mine)["stages"]
    assert tuple(stages) == STAGES
    over = [*EFFORTS, "profiles.bottom", "profiles.middle", "profiles.mine"]
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m flows run --profile mine --stage {name}"
        assert stage["wdir"] == "../.."
        assert stage["params"] == [*stage_named(name).blocks(), *over]
        assert set(stage_named(name).code) <= set(stage["deps"])
    assert {name for name in STAGES if "texts" in stages[name]["deps"]} == {"prepare"}
    readers = [name for name in STAGES if "boards/mine.yaml" in stages[name]["deps"]]
    assert readers == ["search", "finetune", "select"]
    assert refused(load_params(mine / "params.yaml", "mine"), mine, "mine") == []


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"cost": {"device": "boards/other.yaml"}}, ["search", "finetune", "select"]),
        ({"cost": {"device": "boards/../boards/mine.yaml"}}, []),
        ({"cost": {"device": "coral_pcie"}}, []),
        ({"extends": None}, []),
        ({"extends": "bottom"}, []),
        ({"extends": "another"}, list(STAGES)),
        ({"data": {"source": "more"}}, ["prepare"]),
    ],
)
def test_a_file_that_does_not_know_what_a_profile_names_by_now_is_refused(
    change: dict[str, Any], stages: list[str], mine: Path
) -> None:
    written(mine)
    path = mine / "params.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["profiles"]["another"] = {}
    tree["profiles"]["mine"] |= change
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    params = load_params(path, "mine")
    assert refused(params, mine, "mine") == stages
    if stages:
        with pytest.raises(PipelineError, match="Make it anew: python -m flows dvc --profile min"):
            check(stages[0], "mine", params, mine)
        write("mine", params, mine)
        assert refused(params, mine, "mine") == []


def test_a_profiles_file_says_of_stages_what_that_of_the_default_says(mine: Path) -> None:
    default = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    params = load_params(ROOT / "params.yaml", "tiny")
    for name, stage in pipeline("tiny", params, ROOT)["stages"].items():
        of_default = {path.rstrip("/") for path in default[name]["deps"]}
        assert {dep.replace("runs/tiny", "artifacts") for dep in stage["deps"]} == of_default
        assert set(stage["params"]) == {*default[name]["params"], "profiles.tiny"}
        (out,) = stage.get("outs", ()) or stage["metrics"]
        (made,) = default[name].get("outs", ()) or default[name]["metrics"]
        made = made if isinstance(made, str) else next(iter(made))
        assert [one.replace("runs/tiny", "artifacts") for one in out] == [made]


def test_a_profile_that_dvc_cannot_name_gets_no_file(mine: Path) -> None:
    (mine / "params.yaml").write_text("profiles: {v1.5: {}, mine: {extends: v1.5}}")
    with pytest.raises(PipelineError, match=r"without dots to be under DVC, but got 'v1\.5'"):
        write("mine", load_params(mine / "params.yaml", "mine"), mine)
    assert not (mine / "runs").exists()


def test_git_keeps_a_profiles_file_and_not_its_results_and_dvc_finds_it(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    shutil.copyfile(ROOT / ".gitignore", tmp_path / ".gitignore")
    ignored = IgnoreFilterManager.from_repo(dulwich.repo.Repo(tmp_path)).is_ignored
    kept = ("runs/", "runs/mine/", "runs/mine/dvc.yaml", "runs/mine/dvc.lock")  # as DVC walks
    assert not any(map(ignored, kept))
    assert all(
        map(ignored, ("runs/mine/data/", "runs/mine/.gitignore", "runs/mine/search/a.json"))
    )


@pytest.mark.parametrize("profile", profile_names(ROOT / "params.yaml"))
def test_plots_are_of_the_metric_of_the_problem(profile: str) -> None:
    params = load_params(ROOT / "params.yaml", profile)
    for plot in pipeline(profile, params, ROOT)["plots"]:
        (drawn,) = plot.values()
        assert f"{drawn['y']}:max" in params.select.objectives


def test_a_profile_without_a_file_is_told_how_to_get_one(mine: Path, called: list[str]) -> None:
    for folder in (".dvc", ".git"):
        (mine / folder).mkdir()
    params = load_params(mine / "params.yaml", "mine")
    said = version_artifacts.run(mine, "mine", params)
    assert said == "not under DVC: python -m flows dvc --profile mine puts it there"
    written(mine)
    assert version_artifacts.run(mine, "mine", params).startswith("recorded in dvc.lock")
    (mine / "texts.dvc").write_text("outs: []")
    version_artifacts.run(mine, "mine", params)
    file = "runs/mine/dvc.yaml"
    assert called == [
        f"commit --quiet --force {file}",
        f"push --quiet {file}",
        f"commit --quiet --force {file} texts.dvc",
        f"push --quiet {file} texts.dvc",
    ]


def test_the_command_writes_the_file_and_says_how_to_go_on(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        (mine / "texts" / f"{split}.csv").write_text("text,label\nhello,a\nbye,b\n")
    tree = yaml.safe_load((mine / "params.yaml").read_text())
    tree["profiles"]["mine"] |= {
        "problem": {"name": "text_classification"},
        "space": {"name": "mobilebert_small"},
        "select": {"objectives": {"accuracy": "max", "latency_ms": "min"}},
    }
    (mine / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    assert cli.main(["dvc", "--profile", "mine"]) == 0
    assert capsys.readouterr().out.endswith("run: dvc repro runs/mine/dvc.yaml\n")
    first = (mine / "runs" / "mine" / "dvc.yaml").read_bytes()
    assert cli.main(["dvc", "--profile", "mine"]) == 0
    assert (mine / "runs" / "mine" / "dvc.yaml").read_bytes() == first


@pytest.mark.parametrize(
    ("profile", "said"),
    [("nope", "profile must be one of bottom, "), ("bottom", "which is for text_classification")],
)
def test_a_profile_that_cannot_run_gets_no_file(
    profile: str, said: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dvc", "--profile", profile]) == 2
    assert said in capsys.readouterr().err
    assert not (mine / "runs").exists()
