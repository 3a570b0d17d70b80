"""Profiles that build on others: what lies over what, and mistakes in one line."""

from pathlib import Path

import pytest
import yaml

from spaces.menu import load_problems
from tasks.data.dataset import kind_of
from tasks.learning.problem import problem_names
from tasks.pipeline.preflight import check
from tasks.run.params import ParamsError
from tasks.run.params_file import load_params

FILE = Path(__file__).parents[2] / "params.yaml"
CHAIN = """
supernet: {steps: 1, batch_size: 1, seed: 1, momentum: 0.1}
profiles:
  base: {supernet: {steps: 2, batch_size: 2, seed: 2}}
  middle: {extends: base, supernet: {steps: 3, batch_size: 3}}
  top:
    extends: middle
    supernet: {steps: 4}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_each_profile_lies_over_the_one_that_it_extends(tmp_path: Path) -> None:
    supernet = load_params(write(tmp_path, CHAIN), "top", ["supernet.steps=5"]).supernet
    assert (supernet.steps, supernet.batch_size, supernet.seed) == (5, 3, 2)
    assert supernet.momentum == 0.1
    assert load_params(tmp_path / "params.yaml", "top").supernet.steps == 4
    assert load_params(tmp_path / "params.yaml", "middle").supernet.steps == 3


def test_a_profile_may_do_nothing_but_extend(tmp_path: Path) -> None:
    path = write(tmp_path, CHAIN + "  same: {extends: top}\n")
    assert load_params(path, "same") == load_params(path, "top")


GOALS = """
select: {objectives: {top1: max, macs: min}}
profiles:
  mapped: {select: {objectives: {f1: max}}}
  listed: {select: {objectives: ["f1:max", "latency_ms:min"]}}
  "on": {extends: listed, select: {objectives: {map50: max}}}
  silent: {extends: listed}
"""


@pytest.mark.parametrize(
    ("profile", "overrides", "expected"),
    [
        (None, [], "top1:max macs:min"),
        ("mapped", [], "f1:max"),
        ("listed", [], "f1:max latency_ms:min"),
        ("on", [], "map50:max"),
        ("silent", [], "f1:max latency_ms:min"),
        ("mapped", ["select.objectives=[top1:max]"], "top1:max"),
        ("listed", ["select.objectives={top1: max}"], "top1:max"),
        ("listed", ["select.objectives.macs=min"], "f1:max latency_ms:min macs:min"),
        ("listed", ["select.objectives.latency_ms=max"], "f1:max latency_ms:max"),
        ("mapped", ["select.objectives={a: max}", "select.objectives={b: min}"], "b:min"),
        ("mapped", ["select.objectives={a: max}", "select.objectives.b=min"], "a:max b:min"),
        ("mapped", ["select.objectives.b=min", "select.objectives=[a:max]"], "a:max"),
    ],
)
def test_goals_take_the_place_of_those_below_them_and_one_alone_is_added(
    profile: str | None, overrides: list[str], expected: str, tmp_path: Path
) -> None:
    found = load_params(write(tmp_path, GOALS), profile, overrides).select.objectives
    assert list(found) == expected.split()


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ("{a: {extends: a}}", r"must not extend themselves, but got a -> a in .*params.yaml"),
        ("{a: {extends: b}, b: {extends: a}}", r"must not extend themselves, .*a -> b -> a"),
        ("{a: {extends: c}, b: {}}", r"profiles.a.extends must be one of a, b, but got 'c'"),
        ("{a: {extends: [b]}, b: {}}", r"profiles.a.extends must be one of a, b, but got \['b'\]"),
        ("{a: {extends: b}, b: 3}", r"profiles.b must hold blocks of keys, but got 3"),
        ("{a: {extend: b}, b: {}}", r"unknown key extend in .*profile a"),
        ("{b: {data: {extends: a}}, a: {extends: b}}", r"unknown key data.extends"),
        ("{a: {}, 2: {}}", r"profile must be one of 2, a, but got 'huge'"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, profiles: str, message: str) -> None:
    path = write(tmp_path, f"profiles: {profiles}")
    with pytest.raises(ParamsError, match=message) as caught:
        load_params(path, "huge" if "huge" in message else "a")
    assert "\n" not in str(caught.value)


def test_extends_is_no_parameter(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="unknown key extends"):
        load_params(write(tmp_path, "extends: a\nprofiles: {a: {}}"))
    with pytest.raises(ParamsError, match="unknown key extends"):
        load_params(FILE, None, ["extends=tiny"])


OPTIONS = """
problem: {name: detection, detections: 7}
profiles:
  more: {problem: {anchors: 2}}
  named: {extends: more, problem: {name: detection, predictor: pointwise}}
  other: {extends: named, problem: {name: segmentation, argmax_side: 16}}
  back: {extends: other, problem: {name: detection}}
  silent: {problem: {name: classification}}
"""
DETECTION = {"name": "detection", "predictor": "ssdlite", "anchors": 3, "detections": 20}


@pytest.mark.parametrize(
    ("profile", "overrides", "expected"),
    [
        (None, [], DETECTION | {"detections": 7}),
        ("more", [], DETECTION | {"detections": 7, "anchors": 2}),
        ("named", [], DETECTION | {"detections": 7, "anchors": 2, "predictor": "pointwise"}),
        ("other", [], {"name": "segmentation", "finalize": "resize_argmax", "argmax_side": 16}),
        ("back", [], DETECTION),
        ("silent", [], {"name": "classification"}),
        ("other", ["problem.name=detection", "problem.anchors=1"], DETECTION | {"anchors": 1}),
        ("more", ["problem.anchors=1"], DETECTION | {"detections": 7, "anchors": 1}),
    ],
)
def test_options_under_the_name_of_another_problem_do_not_count(
    profile: str | None, overrides: list[str], expected: dict[str, object], tmp_path: Path
) -> None:
    found = load_params(write(tmp_path, OPTIONS), profile, overrides).problem
    assert found.model_dump() == expected
    assert list(found.model_dump()) == list(expected)


@pytest.mark.parametrize("name", problem_names())
def test_every_problem_has_shipped_parameters_that_fit_it(name: str) -> None:
    params = load_params(FILE, None if name == "classification" else name)
    assert params.problem.name == name
    assert kind_of(params.data.format) == name
    assert name in load_problems(params.space.name)
    assert params.data.source is None
    check(params)


def test_a_persons_own_profile_is_as_the_documents_say(tmp_path: Path) -> None:
    tree = yaml.safe_load(FILE.read_text())
    own = {"format": "coco", "source": "data/bccd", "image_size": [192, 256]}
    tree["profiles"]["bccd"] = {"extends": "detection", "data": own}
    params = load_params(write(tmp_path, yaml.safe_dump(tree, sort_keys=False)), "bccd")
    shipped = load_params(FILE, "detection")
    assert params.data.size == (192, 256)
    assert params.data.fit == shipped.data.fit
    assert params.model_copy(update={"data": shipped.data}) == shipped
