import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import DataError, RawData, Source, format_names, kind_of, read_source
from tasks.data.pictures import decode
from tasks.formats import digits, image_folder, keras, npz, tfds


def make(root: Path, *names: str) -> Source:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path, {".jfif": "JPEG"}.get(path.suffix))
    return Source(str(root))


def labels(raw: RawData) -> dict[str, list[int]]:
    return {split: [s.label for s in samples] for split, samples in raw.splits.items()}


def test_unknown_format_lists_those_that_exist() -> None:
    assert {"digits", "image_folder", "keras", "npz", "tfds", "coco", "voc", "mask_folder"} <= set(
        format_names()
    )
    with pytest.raises(DataError, match=r"must be one of coco, .*npz.* but got 'zip'"):
        read_source("zip", Source())
    with pytest.raises(DataError, match=r"data.format must be one of"):
        read_source("../params", Source())


def test_each_format_says_its_kind_before_it_is_read() -> None:
    kinds = {name: kind_of(name) for name in format_names()}
    assert kinds["digits"] == kinds["image_folder"] == "classification"
    assert kinds["coco"] == kinds["voc"] == kinds["scenes_boxes"] == "detection"
    assert kinds["mask_folder"] == kinds["scenes_masks"] == "segmentation"
    assert kinds["csv_text"] == kinds["sentences"] == "text_classification"
    assert kinds["squad"] == kinds["questions"] == "question_answering"
    for name in ("digits", "scenes_boxes", "scenes_masks", "sentences", "questions"):
        assert read_source(name, Source()).kind == kinds[name]


def test_digits_are_there_offline() -> None:
    raw = digits.read(Source())
    assert len(raw.splits["train"]) == 1797 and len(raw.classes) == 10
    top = max(int(np.max(s.picture)) for s in raw.splits["train"][:50])  # type: ignore[arg-type]
    assert top == 255


def test_folder_of_splits(tmp_path: Path) -> None:
    names = ("train/b/1.png", "train/a/2.jpg", "val/a/3.png", "val/b/deep/4.PNG", "test/a/5.gif",
             "test/b/6.webp")  # fmt: skip
    raw = image_folder.read(make(tmp_path / "pets", *names))
    assert raw.name == "pets" and raw.classes == ("a", "b")
    assert labels(raw) == {"train": [0, 1], "validation": [0, 1], "test": [0, 1]}
    assert raw.splits["validation"][1].name == "val/b/deep/4.PNG"


def test_flat_folder_is_all_train(tmp_path: Path) -> None:
    raw = image_folder.read(make(tmp_path, "b/1.png", "a/2.png", "a/1.png"))
    assert labels(raw) == {"train": [0, 0, 1]}
    assert [s.name for s in raw.splits["train"]] == ["a/1.png", "a/2.png", "b/1.png"]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert image_folder.read(make(tmp_path, "train/1.png", "car/2.png")).classes == (
        "car",
        "train",
    )


def test_other_files_are_counted_and_hidden_folders_left_out(tmp_path: Path) -> None:
    source = make(tmp_path, "train/a/1.png", "train/b/2.png", "train/.ipynb_checkpoints/3.png",
                  "train/a/.4.png", "notes/x/5.png")  # fmt: skip
    (tmp_path / "train" / "a" / "Thumbs.db").write_text("x")
    (tmp_path / "README.md").write_text("x")
    raw = image_folder.read(source)
    assert raw.classes == ("a", "b") and labels(raw) == {"train": [0, 1]}
    assert raw.ignored_files == 2 and raw.ignored_folders == ("notes",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train/a/1.png", "train/b/2.png", "test/a/3.png"), "same classes, but b is in only one"),
        (("train/a/1.png", "val/a/2.png", "valid/a/3.png"), "one validation split, but got val"),
        (("test/a/1.png", "test/b/1.png"), "must have train, but got only test"),
        (("1.png", "2.png"), "each class must have a folder of its own"),
    ],
)
def test_bad_folder_is_explained(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        image_folder.read(make(tmp_path, *names))


def test_empty_class_folder_is_named(tmp_path: Path) -> None:
    source = make(tmp_path, "train/a/1.png")
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match=r"none in .*train/empty"):
        image_folder.read(source)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*nowhere"):
        image_folder.read(Source(str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match="must be the path of a folder of pictures, but got none"):
        image_folder.read(Source())
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"must be the path of a folder, but .*file is a file"):
        image_folder.read(Source(str(tmp_path / "file")))


X, Y = np.zeros((4, 5, 5), np.uint8), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "splits"),
    [
        ({"images": X, "labels": Y}, {"train"}),
        ({"x": X, "y": Y.reshape(4, 1).astype(np.uint8)}, {"train"}),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}, {"train", "test"}),
        (
            {"train_images": X, "train_labels": Y, "val_images": X, "val_labels": Y, "note": Y},
            {"train", "validation"},
        ),
        ({"images": np.zeros((4, 5, 6, 3), np.uint8), "labels": Y}, {"train"}),
    ],
)
def test_npz_layouts(tmp_path: Path, arrays: dict[str, Any], splits: set[str]) -> None:
    np.savez(tmp_path / "my.npz", **arrays)
    raw = npz.read(Source(str(tmp_path / "my.npz")))
    assert set(raw.splits) == splits and raw.classes == ("0", "1") and raw.name == "my.npz"
    assert labels(raw)["train"] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X}, "must hold x_train and y_train.*but got a"),
        ({"x_train": X}, "got x_train without y_train"),
        ({"images": X.astype(np.float32), "labels": Y}, "uint8 .0..255., but got float32"),
        ({"images": X[0], "labels": Y}, r"shape \[N, H, W\].*but got \[5, 5\]"),
        ({"images": np.zeros((4, 3, 5, 5), np.uint8), "labels": Y}, r"but got \[4, 3, 5, 5\]"),
        ({"images": X[:0], "labels": Y[:0]}, "must not be empty"),
        ({"images": X, "labels": Y[:3]}, r"shape \[4\], one for each image, but got \[3\]"),
        ({"images": X, "labels": Y.astype(float)}, "labels must be integers, but got float64"),
        ({"images": X, "labels": Y - 1}, "within 0..K-1, but got -1..0"),
        ({"images": X, "labels": Y + 1}, "labels must count from 0, but the least is 1. Subtract"),
        ({"images": X, "labels": Y, "classes": np.array(["one"])}, "within 0..0, but got 0..1"),
        ({"images": X, "labels": Y, "classes": Y}, "classes must be text"),
        ({"images": np.array([None] * 4), "labels": Y}, "Object arrays"),
    ],
)
def test_bad_npz_is_explained(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "my.npz", **arrays)
    with pytest.raises(DataError, match=message):
        npz.read(Source(str(tmp_path / "my.npz")))


def test_npz_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "my.npz").write_text("hello")
    with pytest.raises(DataError, match=r"must be an .npz of plain arrays"):
        npz.read(Source(str(tmp_path / "my.npz")))


def test_keras_sets_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.zeros((20, 4, 4), np.uint8), np.arange(20) % 10
    module = SimpleNamespace(load_data=lambda: ((x, y), (x[:10], y[:10])))
    monkeypatch.setattr(keras.importlib, "import_module", lambda name: module)
    raw = keras.read(Source("fashion_mnist"))
    assert raw.classes[9] == "ankle_boot" and len(raw.splits["test"]) == 10
    with pytest.raises(DataError, match=r"must be one of mnist, .*but got 'imagenet'"):
        keras.read(Source("imagenet"))


def test_keras_class_names_are_as_many_as_labels() -> None:
    counts = {name: len(set(text.split())) for name, text in keras._CLASSES.items()}
    assert counts == {"mnist": 10, "fashion_mnist": 10, "cifar10": 10, "cifar100": 100}


def test_keras_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise Exception("URL fetch failure")

    monkeypatch.setattr(
        keras.importlib, "import_module", lambda name: SimpleNamespace(load_data=load)
    )
    with pytest.raises(DataError, match=r"on the network, but got: URL fetch failure.*Connect"):
        keras.read(Source("mnist"))


def test_tfds_not_installed_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r'pip install -e "\.\[tfds\]"'):
        tfds.read(Source("tf_flowers"))
    with pytest.raises(DataError, match="must name a data set"):
        tfds.read(Source())


def test_tfds_reads_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(np.zeros((4, 4, 3), np.uint8), 1), (np.zeros((5, 4, 3), np.uint8), 0)]
    info = SimpleNamespace(
        supervised_keys=("image", "label"),
        features={"label": SimpleNamespace(names=["a", "b"])},
    )
    module = SimpleNamespace(
        load=lambda *args, **kwargs: ({"train": pairs, "extra": []}, info), as_numpy=lambda x: x
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    raw = tfds.read(Source("flowers"))
    assert labels(raw) == {"train": [1, 0]} and raw.classes == ("a", "b")


def test_class_folders_with_signs_in_two_forms_are_one(tmp_path: Path) -> None:
    names = ("train/gr\u00fcn/1.png", "train/rot/2.png", "val/gru\u0308n/3.png", "val/rot/4.png")
    raw = image_folder.read(make(tmp_path, *names))
    assert raw.classes == ("gr\u00fcn", "rot")
    assert labels(raw) == {"train": [0, 1], "validation": [0, 1]}
    (tmp_path / "train" / "gru\u0308n").mkdir()
    with pytest.raises(DataError, match=r"one folder, but got two of grün .* Put them together"):
        image_folder.read(Source(str(tmp_path)))


def test_pictures_beside_class_folders_are_named(tmp_path: Path) -> None:
    raw = image_folder.read(make(tmp_path, "a/1.png", "b/2.png", "stray.png"))
    assert raw.skipped == {"train": {image_folder.NO_CLASS: ["stray.png"]}}
    assert raw.ignored_files == 0


@pytest.mark.parametrize("ending", ["tif", "TIFF", "jfif", "ppm"])
def test_rarer_endings_are_pictures(tmp_path: Path, ending: str) -> None:
    raw = image_folder.read(make(tmp_path, f"a/1.{ending}", "b/2.png"))
    (first, _) = raw.splits["train"]
    assert decode(first.picture, (8, 8), "crop", "auto").pixels is not None  # type: ignore[union-attr]


@pytest.mark.parametrize("ending", ["heic", "HEIC", "dng"])
def test_pictures_that_nothing_here_reads_are_named(tmp_path: Path, ending: str) -> None:
    source = make(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / f"1.{ending}").write_bytes(b"anything")
    (sample,) = (s for s in image_folder.read(source).splits["train"] if s.name.endswith(ending))
    result = decode(sample.picture, (8, 8), "crop", "auto")  # type: ignore[union-attr]
    assert result.pixels is None
    assert result.reason == f".{ending} is not read: save it as JPEG or PNG"
