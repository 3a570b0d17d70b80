from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import DataError, Source
from tasks.formats import voc
from tasks.kinds.detection import CLIPPED
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_npz

WIDTH, HEIGHT = 40, 20


def thing(name: str = "dog", corners: Any = (5, 3, 12, 8), difficult: str = "0") -> str:
    edges = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=False)
    bndbox = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
    return (
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<bndbox>{bndbox}</bndbox></object>"
    )


def xml(objects: str, filename: str = "", size: tuple[int, int] | None = (WIDTH, HEIGHT)) -> str:
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    return f"<annotation><filename>{filename}</filename>{told}{objects}</annotation>"


def fill(
    annotations: Path, pictures: Path, numbers: range = range(10), objects: str = thing()
) -> None:
    for folder in (annotations, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    for index in numbers:
        noise = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3))
        Image.fromarray(noise.astype(np.uint8)).save(pictures / f"{index}.jpg")
        (annotations / f"{index}.xml").write_text(xml(objects))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path / "pets" / "Annotations", tmp_path / "pets" / "JPEGImages")
    return tmp_path / "pets"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(None, tmp_path / "run")


def prepare(source: Path, workspace: Workspace, **changes: object) -> dict[str, Any]:
    params = {
        "format": "voc",
        "source": str(source),
        "image_size": [16, 32],
        "fit": "stretch",
        **changes,
    }
    return run(DataParams.model_validate(params), workspace, SilentProgress())


def test_corners_count_from_one_and_are_inclusive(root: Path, workspace: Workspace) -> None:
    whole = thing("cat", (1, 1, WIDTH, HEIGHT), difficult="1")
    for index in range(10):
        (root / "Annotations" / f"{index}.xml").write_text(xml(thing() + whole))
    manifest = prepare(root, workspace)
    assert manifest["classes"] == ["cat", "dog"] and not manifest["skipped"]
    train = read_npz(workspace.data / "train.npz")
    np.testing.assert_allclose(
        train["boxes"], [[[2 / 20, 4 / 40, 8 / 20, 12 / 40], [0, 0, 1, 1]]] * 6
    )
    np.testing.assert_array_equal(train["labels"], [[1, 0]] * 6)
    np.testing.assert_array_equal(train["crowd"], [[False, True]] * 6)


def test_lists_of_splits(root: Path, workspace: Workspace) -> None:
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n3 \n\n")
    (lists / "val.txt").write_text("4  1\n5 -1\n99\n")
    (lists / "dog_train.txt").write_text("6 1\n")
    (lists / "trainval.txt").write_text("0\n1\n2\n3\n4\n5\n")
    manifest = prepare(root, workspace, test_fraction=0.0)
    assert {split: part["images"] for split, part in manifest["splits"].items()} == {
        "train": 4,
        "validation": 2,
    }
    assert manifest["skipped"] == {
        voc.NO_XML_LISTED: {"count": 1, "names": ["99"]},
        voc.UNLISTED: {"count": 4, "names": [f"JPEGImages/{n}.jpg" for n in range(6, 10)]},
    }


@pytest.mark.parametrize("folder", ["ImageSets/Main", "ImageSets", "."])
def test_train_and_validation_in_one_list(root: Path, workspace: Workspace, folder: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, numbers in (("trainval", range(8)), ("val", range(6, 8)), ("test", range(8, 10))):
        (root / folder / f"{name}.txt").write_text("".join(f"{n}\r\n" for n in numbers))
    found = voc.read(Source(str(root))).splits
    assert {split: len(samples) for split, samples in found.items()} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }


def test_lists_without_one_for_train_say_so(root: Path) -> None:
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "test.txt").write_text("1")
    with pytest.raises(DataError, match=r"must have one for train .*, but got test.txt in"):
        voc.check(Source(str(root)))


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [("{}/Annotations", "{}/JPEGImages"), ("{}/Annotations", "{}/images"), ("{}", "{}")],
)
def test_a_folder_for_each_split(
    tmp_path: Path, workspace: Workspace, annotations: str, pictures: str
) -> None:
    for split, numbers in (("train", range(6)), ("valid", range(6, 9))):
        fill(
            tmp_path / "x" / annotations.format(split),
            tmp_path / "x" / pictures.format(split),
            numbers,
        )
    manifest = prepare(tmp_path / "x", workspace, test_fraction=0.0)
    assert {split: part["images"] for split, part in manifest["splits"].items()} == {
        "train": 6,
        "validation": 3,
    }
    assert not manifest["skipped"]


def test_picture_by_the_name_in_the_xml(root: Path, workspace: Workspace) -> None:
    (root / "JPEGImages" / "3.jpg").rename(root / "JPEGImages" / "other.jpg")
    (root / "Annotations" / "3.xml").write_text(xml(thing(), "other.jpg"))
    manifest = prepare(root, workspace)
    assert sum(part["images"] for part in manifest["splits"].values()) == 10


def test_missing_picture_and_missing_xml(root: Path, workspace: Workspace) -> None:
    (root / "Annotations" / "3.xml").unlink()
    (root / "JPEGImages" / "4.jpg").unlink()
    with pytest.raises(DataError, match=r"4.jpg': there is no such file"):
        prepare(root, workspace)
    manifest = prepare(root, workspace, on_unreadable="skip", allowed_loss=0.2)
    assert manifest["unreadable"]["count"] == 1
    assert manifest["skipped"][voc.NO_XML] == {"count": 1, "names": ["JPEGImages/3.jpg"]}


def test_picture_without_objects_is_kept(root: Path, workspace: Workspace) -> None:
    (root / "Annotations" / "3.xml").write_text(xml("", size=None))
    manifest = prepare(root, workspace)
    assert sum(part["images_without_boxes"] for part in manifest["splits"].values()) == 1


@pytest.mark.parametrize(
    ("objects", "reason", "name"),
    [
        (thing("", (1, 1, 5, 5)), voc.NO_NAME, "3.xml"),
        (thing("dog", (1, 1, 5)), voc.NO_BOX, "3.xml"),
        (thing("dog", (1, "x", 5, 5)), voc.NO_BOX, "3.xml"),
        (thing("dog", (0, 3, 5, 5)), CLIPPED, "JPEGImages/3.jpg"),
    ],
)
def test_bad_objects_are_counted(
    root: Path, workspace: Workspace, objects: str, reason: str, name: str
) -> None:
    (root / "Annotations" / "3.xml").write_text(xml(objects))
    assert prepare(root, workspace)["skipped"] == {reason: {"count": 1, "names": [name]}}


def test_given_classes_decide(root: Path, workspace: Workspace) -> None:
    (root / "classes.txt").write_text("horse\ndog\n")
    (root / "Annotations" / "3.xml").write_text(xml(thing("cow")))
    manifest = prepare(root, workspace)
    assert manifest["classes"] == ["horse", "dog"]
    assert manifest["skipped"] == {voc.UNKNOWN_NAME: {"count": 1, "names": ["3.xml: cow"]}}


BILLION = '<!DOCTYPE a [<!ENTITY b "bbb">]><annotation>&b;</annotation>'
OUTER = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BILLION.encode(), "3.xml must be XML without a DOCTYPE, but has one"),
        (OUTER.encode("utf-16"), "3.xml must be XML without a DOCTYPE, but has one"),
        (b"<annotation><object>", "3.xml must be XML, but got: no element found"),
        (b"", "3.xml must be XML, but got"),
        (b"<html/>", "3.xml must hold an <annotation>, but its root is <html>"),
    ],
)
def test_bad_xml_is_explained(
    root: Path, workspace: Workspace, content: bytes, message: str
) -> None:
    (root / "Annotations" / "3.xml").write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepare(root, workspace)


def test_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold Annotations/ and JPEGImages/"):
        voc.check(Source(str(tmp_path)))


def test_what_labelimg_leaves_in_one_folder(tmp_path: Path, workspace: Workspace) -> None:
    """It writes the XML beside the picture, and where that was on the machine it ran on."""
    root = tmp_path / "New Folder"
    fill(root, root)
    for number in range(10):
        (root / f"{number}.jpg").rename(root / f"Bild ({number}).jpg")
        (root / f"{number}.xml").unlink()
        told = xml(thing(), f"C:\\Users\\me\\New Folder\\Bild ({number}).jpg").replace(
            "<annotation>", "<annotation verified='yes'><folder>New Folder</folder>"
        )
        (root / f"Bild ({number}).xml").write_text(told, newline="\r\n")
    (root / "Bild (3).xml").rename(root / "export_3.xml")  # only the XML knows its picture now
    manifest = prepare(root, workspace)
    assert {split: part["images"] for split, part in manifest["splits"].items()} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }
    assert not manifest["skipped"] and manifest["classes"] == ["dog"]


@pytest.mark.parametrize("folder", ["annotations", "annotations/xmls", "xml"])
def test_xml_in_a_folder_of_another_name(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "x"
    fill(root / folder, root / "Images")
    samples: Any = voc.read(Source(str(root))).splits["train"]
    assert [sample.name for sample in samples] == [f"Images/{n}.jpg" for n in range(10)]
    assert all(sample.picture.is_file() for sample in samples)


def test_path_of_another_machine_names_the_picture(tmp_path: Path) -> None:
    fill(tmp_path, tmp_path, range(2))
    told = xml(thing()).replace("<size>", r"<path>D:\data\1.jpg</path><size>")
    (tmp_path / "1.xml").unlink()
    (tmp_path / "second.xml").write_text(told)
    samples: Any = voc.read(Source(str(tmp_path))).splits["train"]
    assert [sample.name for sample in samples] == ["0.jpg", "1.jpg"]


def test_two_xml_of_one_picture_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, tmp_path, range(2))
    (tmp_path / "more.xml").write_text(xml(thing("cat"), "1.jpg"))
    with pytest.raises(DataError, match=r"one XML, but 1.xml and more.xml are both of 1.jpg"):
        voc.read(Source(str(tmp_path)))


def test_two_xml_of_a_name_do_not_share_a_picture(tmp_path: Path) -> None:
    root = tmp_path / "x"
    fill(root / "Annotations" / "a", root / "JPEGImages", range(2))
    fill(root / "Annotations" / "b", root / "JPEGImages", range(1))
    samples: Any = voc.read(Source(str(root))).splits["train"]
    found = [sample.name for sample in samples if sample.picture.is_file()]
    assert found == ["JPEGImages/1.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels/0.txt", "0 0.5 0.5 0.25 0.25\r\n1 .1 .1 .2 .2\r\n", "0.txt has the form of YOLO"),
        ("0.txt", "12 0.1 0.1 0.2 0.1 0.2 0.2", "0.txt has the form of YOLO"),
        ("0.json", '{"shapes": []}', "0.json has the form of labelme"),
        ("train.json", "{}", "There is train.json: if it is of COCO, set data.format to coco"),
        ("0.txt", "a picture of 0.5", "but .*/set does not.$"),
    ],
)
def test_boxes_laid_out_for_another_reader(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    root = tmp_path / "set"
    fill(tmp_path / "elsewhere", root / "images", range(2))
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(content, newline="")
    with pytest.raises(DataError, match=message):
        voc.check(Source(str(root)))


def test_xml_and_pictures_in_the_same_folders(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "x"
    for folder, numbers in (("a", range(4)), ("b/c", range(4)), (".", range(4, 8))):
        fill(root / "Annotations" / folder, root / "JPEGImages" / folder, numbers)
    manifest = prepare(root, workspace, test_fraction=0.0)
    kept = sum(part["images"] for part in manifest["splits"].values())
    assert kept + manifest["duplicates"]["dropped_from_train"] == 12
    assert not manifest["skipped"]
    names = {sample.name for sample in voc.read(Source(str(root))).splits["train"]}
    assert {"JPEGImages/a/3.jpg", "JPEGImages/b/c/3.jpg", "JPEGImages/7.jpg"} <= names


def test_pictures_in_folders_that_the_xml_does_not_have(tmp_path: Path) -> None:
    root = tmp_path / "x"
    fill(root / "Annotations", root / "JPEGImages" / "day one")
    samples: Any = voc.read(Source(str(root))).splits["train"]
    assert samples[3].name == "JPEGImages/day one/3.jpg"


def test_pictures_without_xml_stop_the_run(root: Path, workspace: Workspace) -> None:
    for number in range(4):
        (root / "Annotations" / f"{number}.xml").unlink()
    expected = (
        r"4 of 10 pictures of train are lost: 4 times 'picture skipped: there is no XML for it', "
        r"first JPEGImages/0.jpg. Mend that, or set data.allowed_loss to 0.4"
    )
    with pytest.raises(DataError, match=expected):
        prepare(root, workspace)


@pytest.mark.parametrize(
    "line",
    [
        "my dog 1",
        "my dog 1.jpg",
        "my dog 1.JPG",
        "my dog 1.xml",
        "my dog 1  1",
        "my dog 1 -1",
        "a/my dog 1",
        "./a/my dog 1.jpg",
        "VOC2012/JPEGImages/a/my dog 1.jpg",
        r"C:\VOC\a\my dog 1.jpg",
        "My Dog 1",
    ],
)
def test_lines_of_lists_as_people_write_them(tmp_path: Path, line: str) -> None:
    root = tmp_path / "x"
    fill(root / "Annotations" / "a", root / "JPEGImages" / "a", range(2))
    for folder, ending in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (root / folder / "a" / f"0.{ending}").rename(root / folder / "a" / f"my dog 1.{ending}")
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text(f"{line}\r\n1\r\n")
    raw = voc.read(Source(str(root)))
    assert {sample.name for sample in raw.splits["train"]} == {
        "JPEGImages/a/my dog 1.jpg",
        "JPEGImages/a/1.jpg",
    }
    assert not raw.skipped["train"]


def test_names_with_signs_in_two_forms(root: Path, workspace: Workspace) -> None:
    (root / "JPEGImages" / "3.jpg").rename(root / "JPEGImages" / "Gru\u0308n.jpg")
    (root / "Annotations" / "3.xml").rename(root / "Annotations" / "Gr\u00fcn.xml")
    (root / "Annotations" / "4.xml").write_text(xml(thing("Gr\u00fcn")))
    (root / "Annotations" / "5.xml").write_text(xml(thing("Gru\u0308n")))
    manifest = prepare(root, workspace)
    assert manifest["classes"] == ["Gr\u00fcn", "dog"] and not manifest["skipped"]
    assert sum(part["images"] for part in manifest["splits"].values()) == 10


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("gb2312", "狗"),
        ("GBK", "镕"),
        ("gb18030", "狗"),
        ("big5", "狗"),
        ("shift_jis", "犬"),
        ("euc-kr", "개"),
        ("windows-1251", "собака"),
        ("iso-8859-1", "Größe"),
        ("utf-8", "Größe"),
        ("utf-16", "Größe"),
    ],
)
def test_xml_in_the_encoding_that_it_names(root: Path, encoding: str, name: str) -> None:
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n'
    content = (head + xml(thing(name))).encode(encoding)
    (root / "Annotations" / "3.xml").write_bytes(content)
    assert voc.read(Source(str(root))).classes == tuple(sorted((name, "dog")))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_xml_that_cannot_be_in_the_encoding_that_it_names(root: Path, mark: bytes) -> None:
    """Tools write UTF-8 below a line that says UTF-16; that line could not be read if it were."""
    content = ('<?xml version="1.0" encoding="utf-16"?>' + xml(thing("Größe"))).encode()
    (root / "Annotations" / "3.xml").write_bytes(mark + content)
    assert "Größe" in voc.read(Source(str(root))).classes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "but got 'klingon' and: unknown"),
        (b'<?xml version="1.0" encoding="rot13"?><a/>', "but got 'rot13' and: "),
        (b'<?xml version="1.0" encoding="gb2312"?><a>\xff\xff</a>', "'gb2312' and: .*UTF-8"),
        (b"<annotation>\xb9\xb7</annotation>", "XML, but got: .*save it as UTF-8"),
    ],
)
def test_xml_in_an_encoding_of_nobody_is_named(root: Path, content: bytes, message: str) -> None:
    (root / "Annotations" / "3.xml").write_bytes(content)
    with pytest.raises(DataError, match=f"^3.xml must be (in )?.*{message}"):
        voc.read(Source(str(root)))
