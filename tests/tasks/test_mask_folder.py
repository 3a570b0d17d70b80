from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import DataError, MaskSample, Source
from tasks.formats import mask_folder
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_npz

SHARED = Path(__file__).parents[2].parent / "shared" / "datasets"
UNUSABLE = "picture skipped: it cannot be used"


def save(path: Path, array: Any, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array, np.uint8))
    if palette:
        image.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0] + [9] * 759)
    image.save(path)


def noise(seed: int, shape: tuple[int, ...] = (10, 12, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures of 10x12, their masks 0, 1, 2 in columns; flat."""
    root = tmp_path / "cells"
    for index in range(10):
        save(root / "images" / f"{index}.png", noise(index))
        save(root / "masks" / f"{index}.png", np.arange(12)[None].repeat(10, 0) // 4)
    (root / "classes.txt").write_text("ground\ninner\nrim\n")
    return root


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(None, tmp_path / "run")


def prepare(folder: Path, workspace: Workspace, **changes: object) -> dict[str, Any]:
    params = {"format": "mask_folder", "source": str(folder), "image_size": [10, 12], **changes}
    return run(DataParams.model_validate(params), workspace, SilentProgress())


def test_flat_folders(folder: Path, workspace: Workspace) -> None:
    manifest = prepare(folder, workspace)
    assert manifest["problem"] == "segmentation" and manifest["synthetic"] is False
    assert manifest["classes"] == ["ground", "inner", "rim"]
    assert manifest["input_shape"] == [1, 10, 12, 3] and manifest["image_size"] == [10, 12]
    train = read_npz(workspace.data / "train.npz")
    assert set(train) == {"images", "masks"} and train["masks"].dtype == np.uint8
    assert train["masks"].shape == (6, 10, 12)
    assert (train["masks"] == np.arange(12) // 4).all()
    part = manifest["splits"]["train"]
    assert part["pixels_per_class"] == {"ground": 240, "inner": 240, "rim": 240}
    assert part["items"] == part["images"] == 6


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/train", "masks/train"),
        ("images/train2017", "masks/train2017"),
        ("train/images", "train/masks"),
        ("images/train/deep", "masks/train/deep"),
    ],
)
def test_layouts(tmp_path: Path, images: str, masks: str) -> None:
    save(tmp_path / images / "a.jpg", noise(0))
    save(tmp_path / masks / "a.png", np.zeros((10, 12)))
    (tmp_path / "classes.txt").write_text("\ufeffa\r\nb\r\n\r\n")
    raw = mask_folder.read(Source(str(tmp_path)))
    assert raw.classes == ("a", "b") and raw.kind == "segmentation"
    (sample,) = raw.splits["train"]
    assert isinstance(sample, MaskSample) and sample.name == f"{images}/a.jpg"
    assert sample.mask == tmp_path / masks / "a.png"


def test_masks_follow_their_pictures_in_every_fit(tmp_path: Path, workspace: Workspace) -> None:
    for index in range(8):
        picture = np.zeros((40, 20), np.uint8)
        picture[index * 4 : index * 4 + 8, 5:15] = 250
        save(tmp_path / "x" / "images" / f"{index}.png", picture)
        save(tmp_path / "x" / "masks" / f"{index}.png", picture > 128)
    (tmp_path / "x" / "classes.txt").write_text("dark\nlight")
    for fit in ("crop", "pad", "stretch"):
        manifest = prepare(tmp_path / "x", workspace, image_size=[20, 24], fit=fit)
        train = read_npz(workspace.data / "train.npz")
        pixels, masks = train["images"][..., 0].astype(int), train["masks"]
        sure = (abs(pixels - 128) > 100) & (masks != 255)
        np.testing.assert_array_equal(masks[sure], pixels[sure] > 128)
        assert sure.mean() > 0.3
        bars = manifest["splits"]["train"]["pixels_ignored"]
        assert bars == (len(masks) * 20 * 14 if fit == "pad" else 0)


@pytest.mark.parametrize("mode", ["P", "L", "1", "RGB", "I;16"])
def test_modes_of_masks_that_are_indexes(folder: Path, workspace: Workspace, mode: str) -> None:
    values = np.arange(12)[None].repeat(10, 0) // 6
    image = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image.putpalette([200, 0, 0, 0, 200, 0] + [7] * 762)
    if mode == "1":
        image = Image.fromarray(values.astype(bool))
    if mode == "RGB":
        image = image.convert("RGB")
    for index in range(10):
        image.save(folder / "masks" / f"{index}.png")
    prepare(folder, workspace)
    assert (read_npz(workspace.data / "train.npz")["masks"] == values).all()


def test_ignored_pixels_stay_ignored(folder: Path, workspace: Workspace) -> None:
    for index in range(10):
        save(folder / "masks" / f"{index}.png", np.where(np.arange(12) < 3, 255, [[1], [0]] * 5))
    manifest = prepare(folder, workspace)
    assert manifest["splits"]["train"]["pixels_ignored"] == 6 * 10 * 3
    assert manifest["classes_missing"] == {split: ["rim"] for split in manifest["splits"]}


BAD_MASKS = [
    (np.full((10, 12), 7), "its mask holds 7, but classes are 0..2 and 255 is ignored"),
    (np.zeros((9, 12)), "its size is 12x10, but its mask has 12x9 pixels"),
    (noise(5, (10, 12, 3)), "its mask must be of palette or grey mode, but is RGB"),
    (noise(5, (10, 12, 4)), "its mask must be of palette or grey mode, but is RGBA"),
]


@pytest.mark.parametrize(("mask", "message"), BAD_MASKS)
def test_bad_mask_is_refused_or_skipped(
    folder: Path, workspace: Workspace, mask: np.ndarray, message: str
) -> None:
    save(folder / "masks" / "3.png", mask)
    with pytest.raises(DataError, match=f"got 'images/3.png': {message}.*on_unreadable"):
        prepare(folder, workspace)
    manifest = prepare(folder, workspace, on_unreadable="skip")
    assert manifest["unreadable"] == {"rule": "skip", "count": 1, "names": ["images/3.png"]}
    (told,) = manifest["skipped"][UNUSABLE]["names"]
    assert told.startswith("images/3.png: ") and message in told
    assert sum(part["items"] for part in manifest["splits"].values()) == 9


def test_mask_that_is_no_picture(folder: Path, workspace: Workspace) -> None:
    (folder / "masks" / "3.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"images/3.png': its mask is unreadable: not a picture"):
        prepare(folder, workspace)


def test_picture_without_mask_and_mask_without_picture(folder: Path, workspace: Workspace) -> None:
    (folder / "masks" / "3.png").rename(folder / "masks" / "lone.png")
    with pytest.raises(DataError, match=r"got 'images/3.png': there is no mask for it"):
        prepare(folder, workspace)
    manifest = prepare(folder, workspace, on_unreadable="skip", allowed_loss=0.2)
    skipped = manifest["skipped"]
    assert skipped[mask_folder.NO_PICTURE] == {"count": 1, "names": ["masks/lone.png"]}
    assert skipped[UNUSABLE]["names"] == ["images/3.png: there is no mask for it"]


def test_foreground_of_255_is_explained(folder: Path, workspace: Workspace) -> None:
    for index in range(10):
        save(folder / "masks" / f"{index}.png", np.arange(12)[None].repeat(10, 0) // 6 * 255)
    with pytest.raises(DataError, match=r"at least 2 classes, but got only the values 0, 255"):
        prepare(folder, workspace)


def test_mask_of_a_camera_picture_decides_whether_it_is_turned(
    folder: Path, workspace: Workspace
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for index in range(10):
        Image.fromarray(noise(index)).save(folder / "images" / f"{index}.png", exif=exif)
    manifest = prepare(folder, workspace)  # masks are 10x12, as the pictures are stored
    assert manifest["splits"]["train"]["images"] == 6
    mask = np.arange(10)[None].repeat(12, 0) // 4
    for index in range(10):
        save(folder / "masks" / f"{index}.png", mask)
    prepare(folder, workspace, image_size=[12, 10])  # now as they are looked at
    assert (read_npz(workspace.data / "train.npz")["masks"] == mask).all()


def edit(folder: Path, change: str) -> None:
    if change == "no classes.txt":
        (folder / "classes.txt").unlink()
    elif change == "gap":
        (folder / "classes.txt").write_text("a\n\nb\n")
    elif change == "many":
        (folder / "classes.txt").write_text("\n".join(map(str, range(256))))
    elif change == "twice":
        (folder / "classes.txt").write_text("a\na\n")
    elif change == "latin":
        (folder / "classes.txt").write_bytes(b"a\nb\xe9\n")
    elif change == "no masks":
        (folder / "masks").rename(folder / "labels")
    elif change == "two endings":
        save(folder / "images" / "3.bmp", noise(0))
    elif change == "no images":
        (folder / "images").rename(folder / "pictures")
    elif change == "other names":
        for path in sorted((folder / "masks").iterdir()):
            path.rename(path.with_name(f"mask_{path.name}"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no classes.txt", "must hold classes.txt, one name a line"),
        ("gap", "each line of classes.txt must name a class, but line 2 is empty"),
        ("many", "at most 255 classes, but classes.txt names 256"),
        ("twice", "names of classes must differ, but got a"),
        ("latin", "classes.txt must be UTF-8, but got the byte 0xe9 at 3"),
        ("no masks", "the same folders, but there is no .*masks"),
        ("two endings", "must differ by more than their ending, but got 3.bmp and 3.png"),
        ("no images", "must have images/train, or pictures in images"),
        ("other names", "the names of their pictures and be PNG, BMP, GIF or TIFF, but got 0 in"),
    ],
)
def test_bad_folder_is_explained(
    folder: Path, workspace: Workspace, change: str, message: str
) -> None:
    edit(folder, change)
    with pytest.raises(DataError, match=message):
        prepare(folder, workspace)


@pytest.mark.skipif(not SHARED.exists(), reason="the data sets are not beside the checkout")
def test_nuclei(workspace: Workspace) -> None:
    manifest = prepare(SHARED / "nuclei3", workspace, image_size=32, test_fraction=0.0)
    assert {s: part["images"] for s, part in manifest["splits"].items()} == {
        "train": 465,
        "validation": 100,
    }
    assert manifest["classes"] == ["background", "inside", "edge"] and not manifest["skipped"]
