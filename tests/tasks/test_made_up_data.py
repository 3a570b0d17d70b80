import json
from typing import Any

import numpy as np
import pytest

from tasks.data.dataset import SPLITS, Source, read_source
from tasks.data.made_up.grammar import intents, questions, requests
from tasks.data.made_up.phrases import INTENTS
from tasks.data.made_up.scenes import DIGITS, SIDE, Scene, scenes
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_npz


@pytest.fixture(scope="module")
def made() -> dict[str, list[Scene]]:
    return {split: scenes(split) for split in SPLITS}


def test_scenes_are_the_same_each_time_and_in_one_split_only(made: dict[str, list[Scene]]) -> None:
    again = scenes("test")
    assert [s.picture.tobytes() for s in made["test"]] == [s.picture.tobytes() for s in again]
    pictures = [scene.picture.tobytes() for split in SPLITS for scene in made[split]]
    assert len(set(pictures)) == len(pictures) == 840


def test_boxes_lie_tightly_around_what_the_mask_shows(made: dict[str, list[Scene]]) -> None:
    for scene in made["validation"]:
        assert scene.mask.shape == (SIDE, SIDE) and len(scene.boxes) == len(scene.labels) > 0
        for number, box in enumerate(scene.boxes):
            top, left, bottom, right = map(int, box.edges)
            window = scene.owner[top:bottom, left:right] == number
            assert window.sum() == (scene.owner == number).sum()
            assert window[0].any() and window[-1].any()
            assert window[:, 0].any() and window[:, -1].any()
            assert (scene.mask[scene.owner == number] == box.label + 1).all()
        assert (scene.mask[scene.owner < 0] == 0).all()


def test_each_digit_is_in_each_split_and_stands_out(made: dict[str, list[Scene]]) -> None:
    for part in made.values():
        counts = np.bincount([label for scene in part for label in scene.labels])
        assert len(counts) == len(DIGITS) and counts.min() > 30
        assert {scene.picture.ndim for scene in part} == {2, 3}


def test_requests_do_not_repeat_and_test_says_things_that_train_does_not() -> None:
    made = requests()
    texts = [request.text for split in SPLITS for request in made[split]]
    assert len(set(texts)) == len(texts) == 2800
    assert {request.intent for request in made["train"]} == set(intents()) == set(INTENTS)
    assert not any("oversleep" in request.text for request in made["train"])
    assert any("oversleep" in request.text for request in made["test"])
    assert made == requests()


def test_answers_stand_in_their_messages() -> None:
    made = questions()
    contexts = {split: {each.context for each in made[split]} for split in SPLITS}
    assert not contexts["train"] & contexts["test"]
    assert not contexts["train"] & contexts["validation"]
    for split in SPLITS:
        for each in made[split]:
            assert each.context[each.start :].startswith(each.answer)
            assert not set("{}[]") & set(each.context)
    assert made == questions()


SHAPES = {
    "scenes_masks": {"images": (64, 64, 3), "masks": (64, 64)},
    "scenes_boxes": {
        "images": (64, 64, 3),
        "boxes": (3, 4),
        "labels": (3,),
        "crowd": (3,),
        "sizes": (2,),
    },
    "sentences": {"tokens": (48,), "labels": (), "texts": ()},
    "questions": {
        "tokens": (48,),
        "types": (48,),
        "spans": (2,),
        "offsets": (48, 2),
        "contexts": (),
        "questions": (),
        "answers": (),
    },
}


@pytest.mark.parametrize("name", SHAPES)
def test_defaults_are_prepared_and_labelled_synthetic(name: str, tmp_path: Any) -> None:
    assert read_source(name, Source()).synthetic
    workspace = Workspace.of(None, tmp_path)
    params = DataParams(format=name, image_size=64, sequence_length=48)
    manifest = run(params, workspace, SilentProgress())
    assert manifest["synthetic"] is True
    assert json.loads((workspace.data / "manifest.json").read_text()) == manifest
    assert manifest["duplicates"]["dropped_from_train"] == 0  # type: ignore[index]
    for split, counts in manifest["splits"].items():  # type: ignore[attr-defined]
        arrays = read_npz(workspace.data / f"{split}.npz")
        assert {key: array.shape[1:] for key, array in arrays.items()} == SHAPES[name]
        assert {len(array) for array in arrays.values()} == {counts["items"]}
        assert {f"{key}_sha256" for key in arrays} <= counts.keys()
