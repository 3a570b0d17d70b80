"""What a split may lose before a run stops."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.data.dataset import Box, BoxSample, DataError, Sample, format_names
from tasks.data.kind import kind_names
from tasks.data.losses import NOUNS, UNUSABLE, check, losses_of
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace

HERE = Path("a.png")


def pictures(count: int) -> tuple[Sample, ...]:
    return tuple(Sample(f"{n}.png", 0, HERE) for n in range(count))


def names(count: int) -> list[str]:
    return [f"lost {n}" for n in range(count)]


def test_what_was_lost_is_the_first_word_of_a_reason() -> None:
    modules = [f"tasks.formats.{name}" for name in format_names()]
    modules += [f"tasks.kinds.{name}" for name in kind_names()]
    said = {
        value
        for module in map(importlib.import_module, modules)
        for value in vars(module).values()
        if isinstance(value, str) and value.split(":")[0].count(" ") and ": " in value
    }
    reasons = {text for text in said if text.split()[1].endswith(":") and text.islower()}
    assert {text.split()[0] for text in said if text.split()[1] == "skipped:"} <= {
        *NOUNS,
        "answer",
    }
    assert len(reasons) > 10


def test_a_loss_is_told_with_its_commonest_reason_and_a_name() -> None:
    skipped = {"picture skipped: torn": names(2), "picture skipped: burnt": names(6)}
    (loss,) = losses_of({"train": pictures(4)}, {"train": skipped})  # type: ignore[dict-item]
    assert (loss.lost, loss.of, loss.share) == (8, 12, 8 / 12)
    assert loss.told() == (
        "8 of 12 pictures of train are lost: 6 times 'picture skipped: burnt', first lost 0"
    )


def test_what_is_changed_or_left_alone_is_no_loss() -> None:
    skipped = {
        reason: names(9)
        for reason in ("box clipped: x", "text cut: x", "file left alone: x", "answer skipped: x")
    }
    assert losses_of({"train": pictures(1)}, {"train": skipped}) == ()


def test_boxes_are_counted_apart_from_pictures() -> None:
    box = Box(0, (0.0, 0.0, 1.0, 1.0))
    samples = tuple(BoxSample(str(n), HERE, (box,) * 5) for n in range(4))
    skipped = {
        "annotation skipped: x": names(5),  # never among the samples
        "box skipped: y": names(2),  # were
        UNUSABLE: names(1),
    }
    found = losses_of({"validation": samples}, {"validation": skipped})
    assert {loss.noun: (loss.lost, loss.of) for loss in found} == {
        "boxes": (7, 25),
        "pictures": (1, 4),
    }


@pytest.mark.parametrize(
    ("lost", "kept", "allowed", "stops"),
    [
        (5, 95, 0.05, False),
        (6, 94, 0.05, True),
        (1, 1, 0.0, False),  # one thing always may
        (2, 98, 0.0, True),
        (80, 20, 0.8, False),
        (80, 20, 0.79, True),
        (9, 0, 1.0, False),
    ],
)
def test_the_share_that_may_be_lost(lost: int, kept: int, allowed: float, stops: bool) -> None:
    losses = losses_of({"train": pictures(kept)}, {"train": {"picture skipped: x": names(lost)}})
    if not stops:
        check(losses, allowed)
        return
    with pytest.raises(DataError, match=f"at most {100 * allowed:g} % of a split may be lost"):
        check(losses, allowed)


def test_the_cure_is_enough() -> None:
    for lost in range(2, 60):
        losses = losses_of({"test": pictures(50)}, {"test": {"picture skipped: x": names(lost)}})
        try:
            check(losses, 0.0)
        except DataError as error:
            check(losses, float(str(error).split("allowed_loss to ")[1].split()[0]))


def test_there_is_no_going_on_without_anything() -> None:
    losses = losses_of({"train": ()}, {"train": {"picture skipped: x": names(9)}})
    with pytest.raises(DataError, match=r"first lost 0\. Mend that\.$"):
        check(losses, 0.05)


def prepare(root: Path, base: Path, **changes: Any) -> dict[str, Any]:
    params = {"format": "image_folder", "source": str(root), "image_size": 8, **changes}
    return run(DataParams.model_validate(params), Workspace.of(None, base), SilentProgress())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of twenty pictures."""
    for number in range(40):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 100 + number).save(path)
    return tmp_path / "set"


def test_most_of_a_telephones_pictures_do_not_vanish(folder: Path, tmp_path: Path) -> None:
    for number in range(160):
        (folder / "ab"[number % 2] / f"IMG_{number}.HEIC").write_bytes(b"ftypheic")
    with pytest.raises(DataError, match=r"'a/IMG_0.HEIC': .HEIC is not read: save it as JPEG"):
        prepare(folder, tmp_path / "run")
    with pytest.raises(DataError, match=r"160 of 200 pictures of train are lost: 160 times"):
        prepare(folder, tmp_path / "run", on_unreadable="skip")
    manifest = prepare(folder, tmp_path / "run", on_unreadable="skip", allowed_loss=0.8)
    assert manifest["lost"] == [
        {
            "split": "train",
            "noun": "pictures",
            "lost": 160,
            "of": 200,
            "reason": UNUSABLE,
            "times": 160,
            "name": "a/IMG_0.HEIC: .HEIC is not read: save it as JPEG or PNG",
        }
    ]


def test_five_percent_may_be_lost(folder: Path, tmp_path: Path) -> None:
    for number in range(2):
        (folder / "a" / f"torn{number}.png").write_bytes(b"x")
    manifest = prepare(folder, tmp_path / "run", on_unreadable="skip")
    assert [(loss["lost"], loss["of"]) for loss in manifest["lost"]] == [(2, 42)]
    (folder / "a" / "torn2.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"3 of 43 pictures of train are lost"):
        prepare(folder, tmp_path / "run", on_unreadable="skip")
