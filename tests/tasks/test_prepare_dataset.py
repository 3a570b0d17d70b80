import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import DataError
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, WorkspaceError, read_npz, sha256_file

SHARED = Path(__file__).parents[2].parent / "shared" / "datasets"


def picture(path: Path, seed: int, channels: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (10, 12, 3) if channels == 3 else (10, 12)
    noise = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 10, flat."""
    root = tmp_path / "pets"
    for index in range(20):
        picture(root / "ab"[index % 2] / f"{index:02d}.png", index)
    return root


def prepare(folder: Path, workspace: Workspace, **changes: object) -> dict:
    params = {"format": "image_folder", "source": str(folder), "image_size": 8, **changes}
    return run(DataParams.model_validate(params), workspace, SilentProgress())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(None, tmp_path / "run")


def files(workspace: Workspace) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in workspace.data.iterdir()}


def test_arrays_and_manifest_agree(folder: Path, workspace: Workspace) -> None:
    manifest = prepare(folder, workspace)
    assert json.loads((workspace.data / "manifest.json").read_text()) == manifest
    assert {split: part["images"] for split, part in manifest["splits"].items()} == {
        "train": 12,
        "validation": 4,
        "test": 4,
    }
    for split, part in manifest["splits"].items():
        arrays = read_npz(workspace.data / f"{split}.npz")
        images, labels = arrays["images"], arrays["labels"]
        assert images.shape == (part["images"], 8, 8, 3) and images.dtype == np.uint8
        assert labels.dtype == np.int32
        assert part["images_per_class"] == {"a": sum(labels == 0), "b": sum(labels == 1)}
        assert part["images_sha256"] == hashlib.sha256(images.tobytes()).hexdigest()
        assert part["carved"] is (split != "train")
    train = read_npz(workspace.data / "train.npz")["images"]
    np.testing.assert_allclose(manifest["channel_mean"], train.mean(axis=(0, 1, 2)))
    assert manifest["source"] == "pets" and manifest["channels"] == 3


def test_labels_follow_their_pictures(tmp_path: Path, workspace: Workspace) -> None:
    for index in range(10):
        for name, value in (("dark", index), ("light", 255 - index)):
            path = tmp_path / "tones" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (9, 9), value).save(path)
    manifest = prepare(tmp_path / "tones", workspace)
    assert manifest["channels"] == 1
    for split in ("train", "validation", "test"):
        arrays = read_npz(workspace.data / f"{split}.npz")
        bright = arrays["images"].mean(axis=(1, 2, 3)) > 128
        np.testing.assert_array_equal(bright, arrays["labels"] == 1)


def test_manifest_holds_no_absolute_path(folder: Path, workspace: Workspace) -> None:
    prepare(folder, workspace)
    assert str(folder.parent) not in (workspace.data / "manifest.json").read_text()


def test_same_data_elsewhere_gives_the_same_bytes(
    folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    prepare(folder, workspace)
    moved = tmp_path / "elsewhere" / "pets"
    for path in sorted(folder.rglob("*.png"), reverse=True):  # another order on the disk
        target = moved / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    other = Workspace.of(None, tmp_path / "other")
    prepare(moved, other)
    assert files(workspace) == files(other)


def test_seed_changes_the_split_but_not_the_source_digest(
    folder: Path, workspace: Workspace
) -> None:
    first, second = prepare(folder, workspace), prepare(folder, workspace, seed=1)
    assert first["source_sha256"] == second["source_sha256"]
    assert first["splits"]["test"] != second["splits"]["test"]


def test_split_of_an_earlier_run_does_not_stay(folder: Path, workspace: Workspace) -> None:
    prepare(folder, workspace)
    manifest = prepare(folder, workspace, test_fraction=0)
    assert set(files(workspace)) == {"manifest.json", "train.npz", "validation.npz"}
    assert "no test split" in manifest["split_rule"]


def test_duplicate_of_a_held_out_picture_leaves_train(
    tmp_path: Path, workspace: Workspace
) -> None:
    root = tmp_path / "pets"
    for index in range(4):
        picture(root / "train" / "ab"[index % 2] / f"{index}.png", index)
    picture(root / "val" / "a" / "copy.png", 0)
    picture(root / "val" / "b" / "own.png", 9)
    manifest = prepare(root, workspace, test_fraction=0)
    assert manifest["duplicates"]["dropped_from_train"] == 1
    assert manifest["splits"]["train"]["images_per_class"] == {"a": 1, "b": 2}
    assert manifest["splits"]["validation"]["images"] == 2
    assert manifest["split_rule"].startswith("train and validation as given")


def test_one_coloured_picture_makes_all_three_channels(folder: Path, workspace: Workspace) -> None:
    picture(folder / "a" / "grey.png", 99, channels=1)
    assert prepare(folder, workspace)["channels"] == 3
    assert prepare(folder, workspace, channels=1)["channels"] == 1


def test_unreadable_picture_is_named_or_skipped(folder: Path, workspace: Workspace) -> None:
    (folder / "b" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"got 'b/broken.png': not a picture.*on_unreadable"):
        prepare(folder, workspace)
    assert not workspace.data.exists()
    manifest = prepare(folder, workspace, on_unreadable="skip")
    assert manifest["unreadable"] == {"rule": "skip", "count": 1, "names": ["b/broken.png"]}
    assert sum(part["images"] for part in manifest["splits"].values()) == 20


def test_class_of_unreadable_pictures_only_is_named(folder: Path, workspace: Workspace) -> None:
    (folder / "c").mkdir()
    (folder / "c" / "1.png").write_bytes(b"x")
    with pytest.raises(DataError, match="images in each split, but got none of c in train"):
        prepare(folder, workspace, on_unreadable="skip")


def test_one_class_is_too_few(tmp_path: Path, workspace: Workspace) -> None:
    picture(tmp_path / "pets" / "a" / "1.png", 0)
    with pytest.raises(DataError, match="at least 2 classes, but got a"):
        prepare(tmp_path / "pets", workspace)


def test_too_few_pictures_to_split_is_named(folder: Path, workspace: Workspace) -> None:
    picture(folder / "rare" / "1.png", 77)
    with pytest.raises(DataError, match=r"class rare must have at least 3 images .*got 1"):
        prepare(folder, workspace)


def test_label_without_pictures_is_named(tmp_path: Path, workspace: Workspace) -> None:
    x, y = np.zeros((6, 8, 8), np.uint8), np.array([0, 0, 0, 2, 2, 2])
    np.savez(tmp_path / "a.npz", images=x, labels=y)
    with pytest.raises(DataError, match="got none of 1 in train"):
        prepare(tmp_path / "a.npz", workspace, format="npz")


def test_failure_leaves_the_old_data_whole(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(folder, workspace)
    before = files(workspace)

    def fail(path: Path, obj: object) -> None:
        raise WorkspaceError("full")

    monkeypatch.setattr("tasks.run.manifest.write_json", fail)
    with pytest.raises(WorkspaceError):
        prepare(folder, workspace, seed=5)
    assert files(workspace) == before
    assert os.listdir(workspace.root) == ["data"]


def test_left_overs_of_a_killed_run_are_cleared(folder: Path, workspace: Workspace) -> None:
    (workspace.root / ".data.new").mkdir(parents=True)
    (workspace.root / ".data.new" / "train.npz").write_text("half")
    prepare(folder, workspace)
    assert os.listdir(workspace.root) == ["data"]


def test_not_square_is_said_in_the_manifest(folder: Path, workspace: Workspace) -> None:
    manifest = prepare(folder, workspace, image_size=[8, 12])
    assert manifest["image_size"] == [8, 12] and manifest["input_shape"] == [1, 8, 12, 3]
    assert read_npz(workspace.data / "train.npz")["images"].shape == (12, 8, 12, 3)
    assert prepare(folder, workspace, image_size=[8, 8])["image_size"] == 8


def test_digits_need_nothing(workspace: Workspace) -> None:
    manifest = run(DataParams(image_size=8), workspace, SilentProgress())
    counts = [part["images"] for part in manifest["splits"].values()]  # type: ignore[attr-defined]
    assert sum(counts) == 1797 and manifest["channels"] == 1


@pytest.mark.skipif(not SHARED.exists(), reason="the data sets are not beside the checkout")
def test_photographs_in_folders(workspace: Workspace) -> None:
    manifest = prepare(SHARED / "clothing10", workspace, image_size=16, test_fraction=0)
    counts = {split: part["images"] for split, part in manifest["splits"].items()}
    assert counts == {"train": 3068, "validation": 341}
    assert len(manifest["classes"]) == 10 and manifest["channels"] == 3
