"""How many nominal machines this one is, where a run is to find out."""

from __future__ import annotations

from pathlib import Path

import pytest

from spaces.menu import load_baselines
from tasks import finetune_qat
from tasks.candidates import machine_speed
from tasks.candidates.machine_speed import GRID, speed_of, try_one
from tasks.candidates.workload import epochs_within, training_seconds
from tasks.run import workers
from tasks.run.params import FinetuneParams, ProblemParams, RuntimeParams, SpaceParams
from tasks.run.workspace import Workspace, read_json, write_json
from tests.prepared import prepared
from tests.samples import SMALL, small_space

NAME = SMALL["classification"][0]
AUTO = RuntimeParams(speed="auto")


def _asked(runtime: RuntimeParams, workspace: Workspace) -> float:
    return speed_of(ProblemParams(), NAME, runtime, workspace)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return prepared("classification", tmp_path)


def _measures(monkeypatch: pytest.MonkeyPatch, *found: float) -> None:
    left = iter(found)
    monkeypatch.setattr(machine_speed, "_measured", lambda *_: next(left))


def test_a_number_is_taken_as_it_is(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _measures(monkeypatch)
    assert _asked(RuntimeParams(speed=2.6), workspace) == 2.6


@pytest.mark.parametrize(
    ("measured", "speed"), [(1.0, 0.8), (1.2, 1.0), (3.6, 3.0), (3.64, 3.0), (0.01, 0.25)]
)
def test_a_part_of_what_is_measured_is_used_in_steps(
    measured: float, speed: float, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _measures(monkeypatch, measured)
    assert _asked(AUTO, workspace) == speed
    assert speed in GRID


def test_a_stage_that_was_cut_off_goes_on_with_the_same(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _measures(monkeypatch, 3.0, 1.0)
    assert _asked(AUTO, workspace) == _asked(AUTO, workspace) == 2.5
    assert capsys.readouterr().out.count("runtime.speed: 2.5, measured") == 1
    (workspace.state / machine_speed.FILE).unlink()
    assert _asked(AUTO, workspace) == 0.8


@pytest.mark.usefixtures("tensorflow")
def test_steps_are_really_taken(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_speed, "MOST_STEPS", 8)
    monkeypatch.setattr(workers, "threads", lambda of_the_run: of_the_run)  # TensorFlow has begun
    point = next(iter(load_baselines(NAME).values()))
    piece = (ProblemParams(), NAME, RuntimeParams(), workspace, point)
    nominal, real = try_one(piece, lambda done, note: None)
    assert (
        0.02 < nominal / real < 50
    )  # of a machine that is neither a pocket calculator nor a cluster
    assert not list(workspace.state.glob("*.npz"))


def test_finalists_take_what_the_search_has_measured(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _measures(monkeypatch, 2.0)

    def asked(runtime: RuntimeParams, **finetune: int) -> float | None:
        given = FinetuneParams(**finetune)
        space = SpaceParams(name=NAME)
        return finetune_qat._speed(ProblemParams(), space, given, runtime, workspace)

    fidelity = workspace.search / "fidelity.json"
    fidelity.parent.mkdir(parents=True, exist_ok=True)
    write_json(fidelity, {"speed": 3.5})
    assert asked(AUTO) == 3.5
    assert asked(RuntimeParams(speed=1.5)) == 1.5
    assert asked(AUTO, epochs=3) is None
    write_json(fidelity, {"speed": None})
    assert asked(AUTO) == 1.5
    assert read_json(workspace.state / machine_speed.FILE) == {"measured": 2.0, "speed": 1.5}


def test_a_faster_machine_trains_longer_but_builds_no_faster() -> None:
    space = small_space("classification")
    graphs = [space.lower(space.smallest())] * 3
    steps, size = 500, 32
    built = training_seconds(graphs, 0, size)
    nominal = training_seconds(graphs, steps, size) - built
    assert training_seconds(graphs, steps, size, 4.0) == pytest.approx(built + nominal / 4)
    minutes = training_seconds(graphs, steps, size, 4.0) / 60
    assert epochs_within(minutes + 1e-6, graphs, 50, size, 99, 4.0) == steps // 50
