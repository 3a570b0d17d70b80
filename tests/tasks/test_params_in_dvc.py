"""``params.yaml`` as DVC writes it back (``dvc exp run -S``): other text, the same parameters."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml, modify_yaml

from tasks.run.params_file import load_params, profile_names

FILE = Path(__file__).parents[2] / "params.yaml"
PROFILES = (None, *profile_names(FILE))


@pytest.fixture(scope="module")
def touched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file after one parameter was set there and back, twice: once is not always enough."""
    path = Path(shutil.copyfile(FILE, tmp_path_factory.mktemp("dvc") / "params.yaml"))
    before = load_params(FILE).search.budget
    for budget in (before + 1, before):
        apply_overrides(path, [f"search.budget={budget}"])
    assert path.read_text() != FILE.read_text()
    return path


@pytest.mark.parametrize("profile", PROFILES)
def test_parameters_survive_being_written_back(profile: str | None, touched: Path) -> None:
    assert load_params(touched, profile) == load_params(FILE, profile)


def test_what_was_written_is_read_by_dvc_as_it_was(touched: Path) -> None:
    assert load_yaml(str(touched)) == load_yaml(str(FILE))


def test_a_parameter_that_is_set_is_set_and_nothing_else(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(FILE, tmp_path / "params.yaml"))
    settings = ["search.budget=20", "cost.target_latency_ms=0.5"]
    apply_overrides(path, [*settings, "profiles.tiny.search.budget=3"])
    assert load_params(path) == load_params(FILE, None, settings)
    assert load_params(path, "tiny") == load_params(FILE, "tiny", [*settings, "search.budget=3"])


def test_an_effort_can_be_set(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(FILE, tmp_path / "params.yaml"))
    apply_overrides(path, ["effort=thorough"])
    assert load_params(path) == load_params(FILE, None, ["effort=thorough"]) != load_params(FILE)


@pytest.mark.parametrize("profile", PROFILES)
def test_goals_can_be_set_one_by_one(profile: str | None, tmp_path: Path) -> None:
    path = Path(shutil.copyfile(FILE, tmp_path / "params.yaml"))
    apply_overrides(path, ["+select.objectives.macs=min", "~select.objectives.weight_bytes"])
    goals = ("top1:max", "latency_ms:min", "macs:min")
    expected = goals if profile in (None, "tiny") else load_params(FILE, profile).select.objectives
    assert load_params(path, profile).select.objectives == expected


def test_dvc_can_modify_the_file_without_the_rules_of_overrides(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(FILE, tmp_path / "params.yaml"))
    with modify_yaml(str(path)) as tree:
        tree["search"]["budget"] = 20
    for profile in PROFILES:
        expected = load_params(FILE, profile, [] if profile else ["search.budget=20"])
        assert load_params(path, profile).select == expected.select
    assert load_params(path).search.budget == 20
