import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import DataError, Source
from tasks.formats import coco
from tasks.kinds.detection import CLIPPED, NO_AREA, NOT_FINITE, OUTSIDE
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_npz

SHARED = Path(__file__).parents[2].parent / "shared" / "datasets"
WIDTH, HEIGHT = 40, 20


def box(number: int, image: int, category: int = 3, bbox: Any = (4, 2, 8, 6), **more: Any) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, **more}


def tree(images: range = range(10)) -> dict[str, Any]:
    """Ten pictures of 20x40 with a box each; category ids with a gap."""
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in images
        ],
        "annotations": [box(100 + i, i) for i in images],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
    }


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def pictures(folder: Path, images: range = range(10)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in images:
        noise = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3))
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{index}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pictures(tmp_path / "pets" / "images")
    return tmp_path / "pets"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(None, tmp_path / "run")


def prepare(source: Path, workspace: Workspace, **changes: object) -> dict[str, Any]:
    params = {
        "format": "coco",
        "source": str(source),
        "image_size": [16, 32],
        "fit": "stretch",
        **changes,
    }
    return run(DataParams.model_validate(params), workspace, SilentProgress())


def test_one_heap(root: Path, workspace: Workspace) -> None:
    content = tree()
    content["annotations"] += [box(1, 0, 7, [0, 0, 40, 20], iscrowd=1)]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 5]
    write(root / "annotations.json", content)
    manifest = prepare(root, workspace)
    assert manifest["problem"] == "detection" and manifest["classes"] == ["dog", "cat"]
    assert sum(part["images_without_boxes"] for part in manifest["splits"].values()) == 1
    assert sum(part["boxes"] for part in manifest["splits"].values()) == 10
    assert sum(part["boxes_crowd"] for part in manifest["splits"].values()) == 1
    for split in manifest["splits"]:
        arrays = read_npz(workspace.data / f"{split}.npz")
        assert {name: array.dtype for name, array in arrays.items()} == {
            "images": np.uint8,
            "boxes": np.float32,
            "labels": np.int32,
            "crowd": np.bool_,
            "sizes": np.int32,
        }
        count = len(arrays["images"])
        assert arrays["boxes"].shape == (count, 2, 4) and arrays["crowd"].shape == (count, 2)
        np.testing.assert_array_equal(arrays["sizes"], [[HEIGHT, WIDTH]] * count)
        dogs = arrays["labels"] == 0
        np.testing.assert_allclose(
            arrays["boxes"][dogs], [[2 / 20, 4 / 40, 8 / 20, 12 / 40]] * dogs.sum()
        )
        assert (arrays["boxes"][arrays["labels"] < 0] == 0).all()
        np.testing.assert_array_equal(arrays["crowd"], arrays["labels"] == 1)


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/instances_{}.json", "images/{}"),
        ("annotations/instances_{}2017.json", "{}2017"),
        ("annotations/{}.json", "images"),
        ("{}.json", "{}"),
        ("{}/_annotations.coco.json", "{}"),
        ("{}/annotations.json", "{}/images"),
        ("ANNOTATIONS/Instances_{}.JSON", "Images/{}"),
    ],
)
def test_layouts(tmp_path: Path, workspace: Workspace, annotations: str, images: str) -> None:
    root = tmp_path / "set"
    for split, numbers in (("train", range(6)), ("val", range(6, 9))):
        write(root / annotations.format(split), tree(numbers))
        pictures(root / images.format(split), numbers)
    manifest = prepare(root, workspace, test_fraction=0.0)
    counts = {split: part["images"] for split, part in manifest["splits"].items()}
    assert counts == {"train": 6, "validation": 3} and not manifest["skipped"]


def test_the_json_itself_is_a_source(tmp_path: Path, workspace: Workspace) -> None:
    write(tmp_path / "annotations" / "instances_train.json", tree())
    pictures(tmp_path / "images" / "train")
    manifest = prepare(tmp_path / "annotations" / "instances_train.json", workspace)
    assert sum(part["images"] for part in manifest["splits"].values()) == 10


def test_file_names_may_hold_folders(tmp_path: Path, workspace: Workspace) -> None:
    content = tree()
    for image in content["images"]:
        image["file_name"] = f"day one\\{image['file_name']}"
    write(tmp_path / "x" / "annotations.json", content)
    pictures(tmp_path / "x" / "images" / "day one")
    manifest = prepare(tmp_path / "x", workspace)
    assert sum(part["images"] for part in manifest["splits"].values()) == 10


def test_ids_of_categories_may_differ_between_splits(tmp_path: Path) -> None:
    other = tree(range(3))
    other["categories"] = [{"id": 0, "name": "dog"}, {"id": 1, "name": "cat"}]
    other["annotations"] = [box(1, 0, 1)]
    write(tmp_path / "train.json", tree())
    write(tmp_path / "val.json", other)
    raw = coco.read(Source(str(tmp_path)))
    assert raw.classes == ("dog", "cat")
    assert raw.splits["validation"][0].boxes[0].label == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fit", "bbox", "expected"),
    [
        ("stretch", [10, 5, 20, 10], [0.25, 0.25, 0.75, 0.75]),
        ("pad", [10, 5, 20, 10], [0.375, 0.25, 0.625, 0.75]),
        ("crop", [10, 5, 20, 10], [0.25, 0.0, 0.75, 1.0]),
        ("crop", [0, 0, 25, 20], [0.0, 0.0, 1.0, 0.75]),  # cut: 15 of 25 columns are left
    ],
)
def test_boxes_follow_the_fit(
    root: Path, workspace: Workspace, fit: str, bbox: list[float], expected: list[float]
) -> None:
    content = tree()
    content["annotations"] = [box(i, i, 3, bbox) for i in range(10)]
    write(root / "annotations.json", content)
    manifest = prepare(root, workspace, fit=fit, image_size=16)
    boxes = read_npz(workspace.data / "train.npz")["boxes"]
    np.testing.assert_allclose(boxes, np.broadcast_to(expected, (6, 1, 4)), atol=1e-6)
    assert not manifest["skipped"]


def test_objects_lost_by_a_crop_are_counted(root: Path, workspace: Workspace) -> None:
    content = tree()
    content["annotations"] += [box(i, i, 7, [15, 5, 9, 9]) for i in range(10)]  # in the middle
    content["annotations"] += [box(50, 4, 7, [0, 0, 12, 20])]  # 2 of 12 columns are left
    write(root / "annotations.json", content)
    manifest = prepare(root, workspace, fit="crop", image_size=16, allowed_loss=0.6)
    told = manifest["skipped"]["box skipped: data.fit crop left less than 30% of it"]
    assert told["count"] == 11  # of the ten boxes at columns 4..12, columns 10 and 11 are left
    assert told["names"][0] == "images/0.png" and len(told["names"]) == 10
    assert sum(part["boxes"] for part in manifest["splits"].values()) == 10


def test_nothing_left_says_why(root: Path, workspace: Workspace) -> None:
    content = tree()
    content["annotations"] = [box(i, i, "3") for i in range(10)]
    write(root / "annotations.json", content)
    with pytest.raises(DataError, match=r"10 pictures \(10 times annotation skipped: there is no"):
        prepare(root, workspace, allowed_loss=1.0)


BAD_BOXES = [
    ([-8, -2, 20, 10], CLIPPED, 1),
    ([30, 10, 20, 20], CLIPPED, 1),
    ([40, 2, 5, 5], OUTSIDE, 0),
    ([3, -9, 5, 9], OUTSIDE, 0),
    ([3, 3, 0, 5], NO_AREA, 0),
    ([3, 3, 5, -1], NO_AREA, 0),
    ([float("nan"), 3, 5, 5], NOT_FINITE, 0),
    ([3, 3, float("inf"), 5], NOT_FINITE, 0),
]


@pytest.mark.parametrize(("bbox", "reason", "kept"), BAD_BOXES)
def test_bad_boxes_are_counted(
    root: Path, workspace: Workspace, bbox: list[float], reason: str, kept: int
) -> None:
    content = tree()
    content["annotations"] += [box(1, 4, 7, bbox)]
    write(root / "annotations.json", content)
    manifest = prepare(root, workspace)
    assert manifest["skipped"] == {reason: {"count": 1, "names": ["images/4.png"]}}
    assert sum(part["boxes"] for part in manifest["splits"].values()) == 10 + kept
    for split in manifest["splits"]:
        boxes = read_npz(workspace.data / f"{split}.npz")["boxes"]
        assert ((boxes >= 0) & (boxes <= 1)).all()


@pytest.mark.parametrize(
    ("annotation", "reason", "name"),
    [
        (box(1, 99), coco.NO_IMAGE, "annotations.json annotation 1"),
        (box(1, 4, 5), coco.NO_CATEGORY, "annotations.json annotation 1 of 4.png"),
        (box(1, 4, 3, [1, 2, 3]), coco.NO_BOX, "annotations.json annotation 1 of 4.png"),
        (box(1, 4, 3, None), coco.NO_BOX, "annotations.json annotation 1 of 4.png"),
        (box(1, 4, 3, [1, 2, "3", 4]), coco.NO_BOX, "annotations.json annotation 1 of 4.png"),
        (box(1, 4, 3, [1, 2, 10**400, 4]), coco.NO_BOX, "annotations.json annotation 1 of 4.png"),
        (box(104, 4), coco.REPEATED, "annotations.json annotation 104 of 4.png"),
    ],
)
def test_annotations_that_lead_nowhere_are_counted(
    root: Path, workspace: Workspace, annotation: dict, reason: str, name: str
) -> None:
    content = tree()
    content["annotations"].append(annotation)
    write(root / "annotations.json", content)
    manifest = prepare(root, workspace)
    assert manifest["skipped"] == {reason: {"count": 1, "names": [name]}}
    assert sum(part["boxes"] for part in manifest["splits"].values()) == 10


def test_missing_picture_is_named_or_skipped(root: Path, workspace: Workspace) -> None:
    write(root / "annotations.json", tree())
    (root / "images" / "3.png").unlink()
    with pytest.raises(DataError, match=r"got 'images/3.png': there is no such file"):
        prepare(root, workspace)
    manifest = prepare(root, workspace, on_unreadable="skip")
    assert manifest["unreadable"]["names"] == ["images/3.png"]


def test_picture_of_another_size_is_refused(root: Path, workspace: Workspace) -> None:
    content = tree()
    content["images"][3]["width"] = 41
    write(root / "annotations.json", content)
    with pytest.raises(
        DataError, match=r"3.png': its size is 40x20, but its annotation is for 41x20"
    ):
        prepare(root, workspace)


def test_picture_that_nothing_speaks_of_is_counted(root: Path, workspace: Workspace) -> None:
    write(root / "annotations.json", tree(range(9)))
    skipped = prepare(root, workspace)["skipped"]
    assert skipped == {coco.NOT_MENTIONED: {"count": 1, "names": ["images/9.png"]}}


def bad(change: str) -> Any:
    content = tree()
    if change == "image twice":
        content["images"][1]["id"] = 0
    elif change == "file twice":
        content["images"][1]["file_name"] = "0.png"
    elif change == "category twice":
        content["categories"][1]["id"] = 7
    elif change == "name twice":
        content["categories"][1]["name"] = "cat"
    elif change == "outside":
        content["images"][1]["file_name"] = "../0.png"
    elif change == "long":
        content["images"][1]["file_name"] = "x" * 300
    elif change == "no boxes":
        content["annotations"] = []
    elif change == "no images":
        content["images"] = []
    elif change == "no list":
        content["images"] = {}
    elif change == "no id":
        del content["images"][2]["id"]
    elif change == "list":
        return [1, 2]
    elif change == "surrogate":
        content["images"][2]["file_name"] = "\ud800.png"
    elif change == "broken":
        return json.dumps(content)[:-9]
    elif change == "deep":
        return "[" * 100_000
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("image twice", "ids of images must differ, but got 0 twice in annotations.json"),
        ("file twice", "file names of images must differ, but got '0.png' twice"),
        ("category twice", "ids of categories must differ, but got 7 twice"),
        ("name twice", "names of categories must differ, but got 'cat' twice"),
        ("outside", r"must stay in its folder, but got '\.\./0.png'"),
        ("long", "a file_name must be at most 255 bytes long, but got 'xxx"),
        ("no boxes", "pictures of train must hold boxes, but got none in 10 pictures"),
        ("no images", "10 of 10 boxes of train are lost: 10 times 'annotation skipped: there is"),
        ("no list", r"laid out as COCO, but images is \{\}, not a list"),
        ("no id", "laid out as COCO, but id is missing, not a whole number/text"),
        ("list", "laid out as COCO, but what should hold"),
        ("surrogate", "must hold text with a UTF-8 form"),
        ("broken", "annotations.json must be JSON, but got"),
        ("deep", "annotations.json must be JSON, but got"),
    ],
)
def test_bad_json_is_explained(
    root: Path, workspace: Workspace, change: str, message: str
) -> None:
    write(root / "annotations.json", bad(change))
    with pytest.raises(DataError, match=message) as caught:
        prepare(root, workspace)
    assert "\n" not in str(caught.value)


def test_folder_without_annotations_is_explained(root: Path) -> None:
    with pytest.raises(DataError, match=r"must hold annotations/instances_train.json or"):
        coco.check(Source(str(root)))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"labels/0.txt": "0 0.5 0.5 0.1 0.1"}, "but got neither in .* labels/0.txt has .* YOLO"),
        ({"a/0.xml": "<annotation/>"}, "a/0.xml: if it is of Pascal VOC, set data.format to voc"),
        (
            {f"{number}.json": '{"shapes": []}' for number in range(9)},
            r"got 0.json, 1.json, 2.json and 6 more in .* 0.json has the form of labelme",
        ),
    ],
)
def test_boxes_laid_out_for_another_reader(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in {**files, "images/0.jpg": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        coco.check(Source(str(tmp_path)))


def test_foreign_category_of_a_split_is_named(tmp_path: Path) -> None:
    other = tree(range(2))
    other["categories"].append({"id": 9, "name": "cow"})
    write(tmp_path / "train.json", tree())
    write(tmp_path / "val.json", other)
    coco.read(Source(str(tmp_path)))  # no box is of it
    other["annotations"].append(box(9, 1, 9))
    write(tmp_path / "val.json", other)
    with pytest.raises(DataError, match=r"categories of train, but val.json has cow, too"):
        coco.read(Source(str(tmp_path)))


@pytest.mark.skipif(not SHARED.exists(), reason="the data sets are not beside the checkout")
def test_blood_cells(workspace: Workspace) -> None:
    manifest = prepare(SHARED / "bccd", workspace, test_fraction=0.0)
    assert {s: (part["images"], part["boxes"]) for s, part in manifest["splits"].items()} == {
        "train": (205, 2804),
        "validation": (87, 1137),
    }
    assert manifest["classes"] == ["RBC", "WBC", "Platelets"] and not manifest["skipped"]


def test_a_root_category_is_no_class(tmp_path: Path, workspace: Workspace) -> None:
    """As exporters write it: first, above the others, without a box."""
    root = tmp_path / "pets"
    for split, numbers in (("train", range(6)), ("valid", range(6, 9))):
        content = tree(numbers)
        content["categories"] = [
            {"id": 0, "name": "pets-abcd", "supercategory": "none"},
            {"id": 3, "name": "dog", "supercategory": "pets-abcd"},
            {"id": 7, "name": "cat", "supercategory": "pets-abcd"},
        ]
        content["annotations"].append(box(1, numbers[0], 7))
        write(root / split / "_annotations.coco.json", content)
        pictures(root / split, numbers)
    manifest = prepare(root, workspace, test_fraction=0.0)
    assert manifest["classes"] == ["dog", "cat"]
    assert manifest["skipped"] == {coco.NO_CLASS: {"count": 1, "names": ["pets-abcd"]}}
    labels = read_npz(workspace.data / "validation.npz")["labels"]
    assert sorted(labels[labels >= 0].tolist()) == [0, 0, 0, 1]


@pytest.mark.parametrize("used", [False, True])
def test_a_background_without_boxes_is_no_class(tmp_path: Path, used: bool) -> None:
    content = tree()
    content["categories"].append({"id": 0, "name": "_background_"})
    content["annotations"] += [box(1, 1, 0)] if used else []
    write(tmp_path / "annotations.json", content)
    classes = coco.read(Source(str(tmp_path))).classes
    assert classes == (("_background_", "dog", "cat") if used else ("dog", "cat"))


def test_a_category_without_boxes_stays_a_class(tmp_path: Path) -> None:
    """It may be a class to come; that it is its own supercategory says nothing."""
    content = tree()
    content["categories"][0] |= {"supercategory": "cat"}
    write(tmp_path / "annotations.json", content)
    assert coco.read(Source(str(tmp_path))).classes == ("dog", "cat")


def test_a_subset_has_its_own_folder(tmp_path: Path, workspace: Workspace) -> None:
    write(tmp_path / "x" / "annotations" / "instances_default.json", tree())
    pictures(tmp_path / "x" / "images" / "default")
    manifest = prepare(tmp_path / "x", workspace)
    assert sum(part["images"] for part in manifest["splits"].values()) == 10
    assert not manifest["skipped"]


def test_a_subset_beside_a_test_split_is_train(tmp_path: Path, workspace: Workspace) -> None:
    for subset, numbers in (("Default", range(7)), ("test", range(7, 10))):
        write(tmp_path / "x" / "annotations" / f"instances_{subset}.json", tree(numbers))
        pictures(tmp_path / "x" / "images" / subset, numbers)
    manifest = prepare(tmp_path / "x", workspace)
    assert manifest["split_rule"].startswith("train and test as given")
    assert not manifest["skipped"]


def test_pictures_deeper_down_are_found_if_there_is_one(tmp_path: Path) -> None:
    write(tmp_path / "annotations.json", tree(range(3)))
    pictures(tmp_path / "images" / "one" / "two", range(2))
    pictures(tmp_path / "images" / "other", range(1, 3))
    samples: Any = coco.read(Source(str(tmp_path))).splits["train"]
    assert [sample.name for sample in samples] == [
        "images/one/two/0.png",
        "images/1.png",  # there are two of it: none is taken
        "images/other/2.png",
    ]
    assert samples[1].places == ("images", ".")


def test_where_a_missing_picture_was_looked_for_is_said(root: Path, workspace: Workspace) -> None:
    write(root / "annotations.json", tree())
    (root / "images" / "3.png").unlink()
    with pytest.raises(DataError, match=r"there is no such file; looked in images, \."):
        prepare(root, workspace)


@pytest.mark.parametrize("on_disk", ["Gru\u0308n 0.png", "GRÜN 0.PNG"])
def test_names_in_another_form_or_case_are_found(tmp_path: Path, on_disk: str) -> None:
    content = tree(range(1))
    content["images"][0]["file_name"] = "Gr\u00fcn 0.png"
    write(tmp_path / "annotations.json", content)
    pictures(tmp_path / "images", range(1))
    (tmp_path / "images" / "0.png").rename(tmp_path / "images" / on_disk)
    (sample,) = coco.read(Source(str(tmp_path))).splits["train"]
    assert sample.name == f"images/{on_disk}"


def test_categories_in_another_form_are_the_same(tmp_path: Path) -> None:
    other = tree(range(2))
    content = tree(range(2))
    content["categories"][1]["name"] = "Gr\u00fcn"
    other["categories"][1]["name"] = "Gru\u0308n"
    write(tmp_path / "train.json", content)
    write(tmp_path / "val.json", other)
    assert coco.read(Source(str(tmp_path))).classes == ("Gr\u00fcn", "cat")


def test_pictures_of_a_split_without_annotations_are_left_alone(
    tmp_path: Path, workspace: Workspace
) -> None:
    write(tmp_path / "x" / "annotations" / "instances_train.json", tree())
    pictures(tmp_path / "x" / "images" / "train")
    pictures(tmp_path / "x" / "images" / "test", range(3))
    (tmp_path / "x" / "annotations" / "captions.json").write_text("{}")
    skipped = prepare(tmp_path / "x", workspace)["skipped"]
    assert {reason: told["count"] for reason, told in skipped.items()} == {
        coco.NO_ANNOTATIONS: 3,
        coco.NO_SPLIT: 1,
    }


def test_most_pictures_may_not_vanish(root: Path, workspace: Workspace) -> None:
    write(root / "annotations.json", tree(range(2)))
    message = (
        "at most 5 % of a split may be lost, but 8 of 10 pictures of train are lost: 8 times "
        "'picture skipped: no annotations speak of it', first images/2.png. Mend that, or set "
        "data.allowed_loss to 0.8 to go on without them."
    )
    with pytest.raises(DataError) as caught:
        prepare(root, workspace)
    assert str(caught.value) == message and not workspace.data.exists()
