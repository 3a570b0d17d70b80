"""What a person is told before a run: of the data, the networks and the time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows import __main__ as cli
from tasks import check_profile
from tasks.data.dataset import DataError
from tasks.run.params import Params
from tasks.run.progress import SilentProgress

SPACES = {
    "classification": "mobilenet_edgetpu_v2_small",
    "detection": "detection_small",
    "segmentation": "segmentation_small",
    "text_classification": "mobilebert_small",
    "question_answering": "mobilebert_small",
}


@pytest.fixture(autouse=True)
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be quick; a test needs no better front."""
    monkeypatch.setattr(check_profile, "_DRAWN", 10)


def lines(name: str, data: dict[str, Any], **blocks: Any) -> list[str]:
    params = Params.model_validate(
        {
            "problem": {"name": name, **blocks.pop("problem", {})},
            "data": data,
            "space": {"name": SPACES[name]},
            "supernet": {"steps": 0},
            "select": {"objectives": ["latency_ms:min"]},
            **blocks,
        }
    )
    return list(check_profile.run(params, SilentProgress()))


def one(said: list[str], *words: str) -> str:
    """The one line that has all of the words."""
    (found,) = (line for line in said if all(word in line for word in words))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty pictures of two classes, four to one."""
    for number in range(60):
        name = "rare" if number % 5 == 0 else "common"
        path = tmp_path / "set" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
        Image.fromarray(noise).save(path)
    return tmp_path / "set"


def of_folder(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"format": "image_folder", "source": str(folder), "image_size": 16, **changes}


def test_pictures_with_a_class(folder: Path) -> None:
    said = lines("classification", of_folder(folder))
    assert said[0] == "data: set, for classification, 2 classes"
    table = said[1].splitlines()
    assert [row.split() for row in table] == [
        ["split", "items", "from"],
        ["train", "36", "the", "source"],
        ["validation", "12", "train"],
        ["test", "12", "train"],
    ]
    assert said[2].endswith("of train: common 28, rare 8; the commonest is 3.5 times the rarest")
    assert "always saying the commonest class is right on 83.3% of validation" in one(
        said, "always"
    )


def test_networks_are_a_front(folder: Path) -> None:
    said = lines("classification", of_folder(folder))
    shown = one(said, "latency ms").splitlines()[1:]
    latencies, macs = zip(*[map(float, row.split()[:2]) for row in shown], strict=True)
    assert 3 <= len(shown) <= 8
    assert list(latencies) == sorted(latencies) and list(macs) == sorted(macs)
    assert "within the range of the baselines" in one(said, "the front by MACs")


def test_limits_are_kept_and_named(folder: Path) -> None:
    free = one(lines("classification", of_folder(folder)), "latency ms").splitlines()[1:]
    limit = float(free[len(free) // 2].split()[0])
    said = lines("classification", of_folder(folder), cost={"target_latency_ms": limit})
    kept = [float(row.split()[0]) for row in one(said, "latency ms").splitlines()[1:]]
    assert max(kept) <= limit + 1e-3
    assert f"within the limits (latency_ms {limit:g})" in one(said, "the front by MACs")


def test_other_devices_are_columns_and_their_limits_are_kept(folder: Path) -> None:
    cost = {"devices": {"ethos_u55_128": {"target_latency_ms": 0.3}, "tensor_g1": {}}}
    said = lines("classification", of_folder(folder), cost=cost)
    head, *rows = one(said, "latency ms").splitlines()
    assert "latency ms  on ethos_u55_128  on tensor_g1  million MACs" in head
    assert rows and max(float(row.split()[1]) for row in rows) <= 0.3
    assert "on coral_usb3 and ethos_u55_128 and tensor_g1, by" in one(said, "by the cost model")
    assert "(ethos_u55_128/latency_ms 0.3)" in one(said, "the front by MACs")


def seconds(said: list[str], stage: str) -> float:
    """Of a row of the times, ``1 min 20 s`` or shorter."""
    rows = one(said, "as measured now").splitlines()
    row = next(row for row in rows if row.split()[0] == stage)
    words = row.split()[1:]
    total = 0.0
    for number, unit in zip(words[::2], words[1::2], strict=False):
        if unit not in ("h", "min", "s"):
            break
        total += float(number) * {"h": 3600, "min": 60, "s": 1}[unit]
    return total


def test_times_follow_the_settings(folder: Path) -> None:
    def times(**blocks: Any) -> list[str]:
        return lines("classification", of_folder(folder), **blocks)

    short = times(finetune={"finalists": 2, "epochs": 100})
    long = times(finetune={"finalists": 8, "epochs": 100})
    assert seconds(long, "finetune") == pytest.approx(4 * seconds(short, "finetune"), rel=0.2)
    assert not any("train_supernet" in line for line in short)
    trained = times(supernet={"steps": 300})
    assert seconds(trained, "train_supernet") > 0 and seconds(trained, "gate") > 0
    more = times(supernet={"steps": 3000})
    assert seconds(more, "train_supernet") == pytest.approx(
        10 * seconds(trained, "train_supernet"), rel=0.2
    )
    shared = times(supernet={"steps": 300}, search={"evaluator": "shared"})
    assert "not reckoned" in one(shared, "as measured now")


def test_minutes_are_kept_where_the_epochs_follow_from_them(folder: Path) -> None:
    for minutes in (2.0, 8.0):
        said = lines("classification", of_folder(folder), finetune={"minutes": minutes})
        assert 0.5 * 60 * minutes < seconds(said, "finetune") < 1.1 * 60 * minutes or (
            "120 epochs" in one(said, "as measured now")  # as many as are of use
        )


def test_more_finalists_where_the_minutes_hold_them(folder: Path) -> None:
    asked = {"finalists": [2, 6], "baselines": 1, "rungs": 2}
    few, many = (
        one(
            lines("classification", of_folder(folder), finetune=asked | {"minutes": m}), "finetune"
        )
        for m in (0.1, 60.0)
    )
    assert "3 networks of" in few and "the better 2 of them" in few
    assert "7 networks of" in many and "better" not in many


def test_a_faster_machine_trains_longer_in_the_same_minutes(folder: Path) -> None:
    def finetune(speed: float) -> tuple[float, int]:
        runtime, minutes = {"speed": speed}, {"minutes": 0.3}
        said = lines("classification", of_folder(folder), runtime=runtime, finetune=minutes)
        (epochs,) = re.findall(r"finetune .* networks of (\d+) epochs", "\n".join(said))
        return seconds(said, "finetune"), int(epochs)

    (slow, few), (fast, many) = finetune(1.0), finetune(2.0)
    assert many >= 2 * few
    assert fast == pytest.approx(slow, rel=0.3)


def test_what_would_stop_the_run_stops_it_after_the_counts(folder: Path) -> None:
    for number in range(9):
        (folder / "rare" / f"torn{number}.png").write_bytes(b"x")
    params = Params.model_validate(
        {"data": of_folder(folder, on_unreadable="skip"), "supernet": {"steps": 0}}
    )
    said = []
    with pytest.raises(DataError, match="9 of 69 pictures of train are lost"):
        for line in check_profile.run(params, SilentProgress()):
            said.append(line)
    assert one(said, "9 of 69 pictures") and said[0].startswith("data: set")


def test_what_cannot_be_used_is_counted_before_it_stops_the_run(folder: Path) -> None:
    (folder / "rare" / "torn.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"but 1 are not, the first 'rare/torn.png'\. Repair"):
        lines("classification", of_folder(folder))


def test_boxes_in_pixels_of_the_input(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    annotations = []
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (100, 200), np.uint8)
        Image.fromarray(noise).save(root / "images" / f"{number}.png")
        for place in range(3):
            annotations.append(
                {
                    "id": 3 * number + place,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [60 * place, 10, 50, 10 if place == 0 else 50],
                }
            )
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(20)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "dog"}],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    said = lines(
        "detection",
        {"format": "coco", "source": str(root), "image_size": [64, 128], "fit": "stretch"},
        problem={"detections": 2},
    )
    # derived: 50x50 of 100x200 pixels are 32x32 of 64x128, 10x50 are 6.4x32
    assert "sides of 14 to 32 pixels (5 to 95 %), half below 32" in one(said, "boxes in the")
    assert "33.3% of them are narrower than 8 pixels" in one(said, "narrower")
    assert "at most 3 boxes in a picture; problem.detections keeps 2" in one(said, "at most")
    assert "100.0% of the pictures have more" in one(said, "raise problem.detections")


def test_texts_against_the_sequence(tmp_path: Path) -> None:
    rows = [f"{'word ' * (number % 20)}end {number},{'ab'[number % 2]}" for number in range(40)]
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    data = {"format": "csv_text", "source": str(tmp_path / "a.csv"), "sequence_length": 12}
    told = one(lines("text_classification", data, cost={"device": "tensor_g1"}), "longest")
    assert "data.sequence_length 12: " in told and "text cut" in told


def test_shares_of_pixels(tmp_path: Path) -> None:
    for number in range(20):
        for name in ("images", "masks"):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (32, 32), np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        mask[:8], mask[-8:] = 1, 255
        Image.fromarray(noise).save(tmp_path / "set" / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "set" / "masks" / f"{number}.png")
    (tmp_path / "set" / "classes.txt").write_text("ground\nthing\n")
    data = {"format": "mask_folder", "source": str(tmp_path / "set"), "image_size": 32}
    said = lines("segmentation", data)
    assert one(said, "pixels of train: ground 66.7%, thing 33.3%; 25.0% ignored")


def test_questions(tmp_path: Path) -> None:
    entries = [
        {
            "context": f"The answer is number {number} of forty.",
            "qas": [
                {
                    "id": str(number),
                    "question": "Which number?",
                    "answers": [{"text": f"number {number}", "answer_start": 14}],
                }
            ],
        }
        for number in range(40)
    ]
    content = {"data": [{"paragraphs": entries}]}
    (tmp_path / "train.json").write_text(json.dumps(content))
    data = {"format": "squad", "source": str(tmp_path / "train.json"), "sequence_length": 48}
    said = lines("question_answering", data, cost={"device": "tensor_g1"})
    assert said[1].splitlines()[0].split() == ["split", "items", "contexts", "from"]
    assert "nothing is cut" in one(said, "longest: ")


def test_the_command_prints_it_and_leaves_nothing(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "params.yaml").write_text(
        json.dumps({"data": of_folder(folder), "profiles": {"mine": {"supernet": {"steps": 0}}}})
    )
    monkeypatch.chdir(tmp_path / "here")
    assert cli.main(["check", "--profile", "mine", "--set", "search.budget=3"]) == 0
    assert "time on 2 cores, 1 times as fast as nominal ones" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["params.yaml"]
    assert cli.main(["check", "--profile", "yours"]) == 2
