"""Data that does not fit into memory: written and read by position, the same as if it did."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import mmap
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from tasks.data import linear_floor, spool, symmetry
from tasks.data.arrays import check_splits, load_split
from tasks.data.spool import Spool
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.training import Batches
from tasks.prepare_dataset import run
from tasks.problems.segmentation import confusion
from tasks.run import rows
from tasks.run.params import AugmentParams, DataParams
from tasks.run.params_file import load_params
from tasks.run.progress import SilentProgress
from tasks.run.rows import Rows, blocks
from tasks.run.workspace import Workspace, WorkspaceError, map_npz, read_npz, write_npz
from tests.prepared import prepared
from tests.samples import SMALL, opened, samples, small_space

ROOT = Path(__file__).parents[2]
MB = 10**6
PROBLEMS = sorted(SMALL)


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture
def peak() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Bytes that a call has allocated at most; NumPy tells tracemalloc of its arrays."""

    def of(call: Callable[[], object]) -> int:
        call()  # modules, caches
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    yield of
    tracemalloc.stop()


# Files read by position


@pytest.mark.parametrize("problem", PROBLEMS)
def test_mapped_arrays_are_those_that_are_read(problem: str, tmp_path: Path) -> None:
    workspace = prepared(problem, tmp_path)
    read, mapped = (f(workspace.data / "train.npz") for f in (read_npz, map_npz))
    assert list(mapped) == list(read)
    for name, array in read.items():
        assert mapped[name].dtype == array.dtype
        np.testing.assert_array_equal(mapped[name], array)
        assert type(mapped[name]) is np.ndarray
        assert mapped[name].flags.aligned and mapped[name].flags.c_contiguous


def test_pictures_are_views_of_the_file_and_cannot_be_changed(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", {"images": noise(9, 5, 4, 3), "labels": np.arange(9)})
    found = map_npz(tmp_path / "a.npz")
    owner: Any = found["images"]
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        found["images"][0] = 0


@pytest.mark.parametrize("order", ["C", "F"])
def test_files_of_numpy_itself_are_read(order: Any, tmp_path: Path) -> None:
    images = np.asarray(noise(9, 5, 4, 3), order=order)
    arrays = {"images": images, "none": noise(0, 3), "one": np.uint8(7), "labels": np.arange(9)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = map_npz(tmp_path / "a.npz")
        assert {n: a.tolist() for n, a in found.items()} == {
            n: a.tolist() for n, a in arrays.items()
        }


@pytest.mark.parametrize("block_bytes", [1, 100, 10**6])
def test_rows_are_written_as_the_array_they_are(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", block_bytes)
    images, labels = noise(9, 5, 4, 3), np.arange(9)
    lazy = Rows(images.shape, images.dtype, images.__getitem__)
    write_npz(tmp_path / "whole.npz", {"images": images, "labels": labels})
    write_npz(tmp_path / "rows.npz", {"images": lazy, "labels": labels})
    assert (tmp_path / "rows.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    for array in (images, lazy):
        np.testing.assert_array_equal(np.concatenate(list(blocks(array))), images)


def _without_end(content: bytes) -> bytes:
    return content[:-100]


def _without_beginning(content: bytes) -> bytes:
    return content[200:]


def _without_middle(content: bytes) -> bytes:
    return content[:400] + content[500:]


def _other_byte(content: bytes) -> bytes:
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = (_without_end, _without_beginning, _without_middle, _other_byte)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_refused_with_the_cure(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    workspace = prepared("classification", tmp_path)
    check_splits(workspace)
    path = workspace.data / "train.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        WorkspaceError, match=r"train\.npz must be .*--stage prepare\.$"
    ) as refused:
        check_splits(workspace)
    assert "\n" not in str(refused.value)


def test_missing_and_foreign_files_are_refused_with_the_cure(tmp_path: Path) -> None:
    workspace = prepared("classification", tmp_path)
    path = workspace.data / "validation.npz"
    write_npz(path, samples("classification", 3, seed=0))
    with pytest.raises(WorkspaceError, match=r"must hold 8 samples.* got 3 .*--stage prepare\."):
        check_splits(workspace)
    path.unlink()
    with pytest.raises(WorkspaceError, match=r"validation\.npz must exist.*--stage prepare\."):
        check_splits(workspace)
    profile = Workspace.of("mine", tmp_path)
    profile.data.parent.mkdir(parents=True)
    workspace.data.rename(profile.data)
    with pytest.raises(WorkspaceError, match=r" run --profile mine --stage prepare\.$"):
        check_splits(profile)


# Where samples wait


class _Pair(NamedTuple):
    pixels: Any
    label: int


def test_spool_keeps_what_is_large_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_SEGMENT", 2**14)  # several of them, and arrays above one
    folder = tmp_path / "new"
    shapes = [(20, 30, 3), (4, 4), (100, 101), (200, 200, 3), (33, 33, 1)] * 3
    arrays = [noise(*shape).astype(dtype) for shape in shapes for dtype in (np.uint8, np.uint16)]
    with Spool(folder) as kept:
        found = [kept.keep((n, _Pair(array, n), None)) for n, array in enumerate(arrays)]
        assert list(folder.iterdir()) == []
    for number, (first, pair, none) in enumerate(found):
        assert (first, pair.label, none, type(pair)) == (number, number, None, _Pair)
        np.testing.assert_array_equal(pair.pixels, arrays[number])
        large = arrays[number].nbytes >= spool.LEAST_BYTES
        assert pair.pixels.dtype == arrays[number].dtype
        assert pair.pixels.flags.writeable is not large and pair.pixels.flags.aligned


def _pictures(folder: Path, count: int, side: int) -> Path:
    """Files of one picture in two classes; bytes behind the end make each another one."""
    stream = io.BytesIO()
    Image.fromarray(noise(side, side, 3)).save(stream, "JPEG")
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue() + number.to_bytes(4, "little"))
    return folder


def test_full_disk_while_decoding_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tasks.data.spool.os.pwrite", full)
    params = DataParams(
        format="image_folder", source=str(_pictures(tmp_path / "set", 9, 32)), image_size=32
    )
    with pytest.raises(WorkspaceError, match=r"the disk must have room for .*, but it is full"):
        run(params, Workspace.of(None, tmp_path), SilentProgress())


_PREPARE = """
import json, sys, threading
from pathlib import Path
import sklearn.decomposition, sklearn.linear_model, sklearn.pipeline, sklearn.preprocessing
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

def prepare(source, name):
    params = DataParams(format="image_folder", source=source, image_size=160)
    return run(params, Workspace.of(None, Path(sys.argv[1]) / name), SilentProgress())

prepare(sys.argv[2], "few")
before = most = held()
done = threading.Event()

def look():
    global most
    while not done.wait(0.002):
        most = max(most, held())

thread = threading.Thread(target=look)
thread.start()
prepare(sys.argv[3], "many")
done.set()
thread.join()
print(json.dumps(most - before))
"""


def test_prepare_needs_no_memory_for_the_pictures(tmp_path: Path) -> None:
    """Of 115 MB of pixels 50 at most are in anonymous memory, all threads and the model included.

    Held as a whole they would be there twice: decoded, and stacked.
    """
    few, many = (_pictures(tmp_path / str(n), n, 160) for n in (120, 1500))
    words = [sys.executable, "-c", _PREPARE, str(tmp_path), str(few), str(many)]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(told) < 50 * MB


# What is made of a split


@pytest.fixture
def split(tmp_path: Path) -> Any:
    """39 MB of pictures with labels, boxes that are none's, and masks, read by position."""
    count, side = 200, 256
    rng = np.random.default_rng(0)
    write_npz(
        tmp_path / "a.npz",
        {
            "images": noise(count, side, side, 3),
            "labels": np.arange(count, dtype=np.int32) % 3,
            "masks": rng.integers(0, 3, (count, side, side), np.uint8),
        },
    )
    return map_npz(tmp_path / "a.npz")


def test_inputs_are_made_a_batch_at_a_time(split: Any, peak: Any) -> None:
    problem = opened("classification")
    graph = problem.complete(
        small_space("classification").lower(small_space("classification").smallest())
    )

    def read() -> None:
        for batch in inputs_in_batches(problem, split, graph):
            del batch

    assert peak(read) < 2.5 * 64 * 256 * 256 * 3 * 4  # two batches of floats; the split has 157 MB


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("whole", [False, True])
def test_inputs_in_batches_are_those_of_the_split(problem: str, whole: bool) -> None:
    one, arrays = opened(problem), samples(problem, 300)
    space = small_space(problem)
    graph = one.complete(space.lower(space.smallest()))
    batches = list(inputs_in_batches(one, arrays, graph, whole))
    kept = 300 - 300 % len(next(iter(batches[0].values()))) if whole else 300
    assert 150 < kept < 300 or not whole
    for name, array in one.inputs(arrays, graph).items():
        found = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_array_equal(found, array[:kept])


@pytest.mark.parametrize("what", ["labels", "masks"])
def test_symmetries_look_at_one_picture_at_a_time(what: str, split: Any, peak: Any) -> None:
    arrays = {"images": split["images"], what: split[what]}
    assert peak(lambda: symmetry.symmetry_of(arrays)) < 10 * MB


def test_linear_floor_looks_at_one_picture_at_a_time(split: Any, peak: Any) -> None:
    arrays = {"images": split["images"], "labels": split["labels"]}
    assert peak(lambda: linear_floor.predictions(arrays, arrays)) < 10 * MB


def test_linear_floor_of_masks_is_fitted_to_the_same_pixels_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The draw is from all pixels that count, as if they lay in one row; that row is not made."""
    monkeypatch.setattr(linear_floor, "PIXELS", 300)
    images = noise(12, 16, 12, 3)
    masks = np.where(images[..., 0] > 120, 2, 1).astype(np.uint8)
    masks[::2, :5], masks[3] = linear_floor.IGNORE, linear_floor.IGNORE
    flat = masks.reshape(-1)
    counted = np.flatnonzero(flat != linear_floor.IGNORE)
    chosen = np.sort(np.random.default_rng(0).choice(counted, 300, replace=False))
    fitted: list[Any] = []

    class Model:
        def fit(self, rows: Any, labels: Any) -> None:
            fitted.extend([rows, labels])

        def predict(self, rows: Any) -> Any:
            return np.zeros(len(rows), np.uint8)

    monkeypatch.setattr("sklearn.pipeline.make_pipeline", lambda *_: Model())
    linear_floor.predictions(
        {"images": images, "masks": masks}, {"images": images, "masks": masks}
    )
    every = np.concatenate([linear_floor._neighbourhood(image) for image in images])
    np.testing.assert_array_equal(fitted[0], every[chosen])
    np.testing.assert_array_equal(fitted[1], flat[chosen])


def test_pixels_are_counted_a_few_pictures_at_a_time(split: Any, peak: Any) -> None:
    masks = split["masks"]
    assert peak(lambda: confusion(masks, masks, 3)) < 64 * 256 * 256 * 40  # of 200 pictures
    expected = np.diag(np.bincount(masks.reshape(-1), minlength=3))
    np.testing.assert_array_equal(confusion(masks, masks, 3), expected)


# Batches


@pytest.mark.parametrize("problem", PROBLEMS)
def test_batches_of_a_file_are_those_of_memory_whenever_one_begins(
    problem: str, tmp_path: Path
) -> None:
    workspace, one = prepared(problem, tmp_path), opened(problem)
    augment = AugmentParams(flip=True, crop=2, scale=0.1, colour=0.1, drop_tokens=0.1)
    memory, file, resumed = (
        Batches(one, arrays, 7, 3, augment)
        for arrays in (
            read_npz(workspace.data / "train.npz"),
            load_split(workspace, "train"),
            load_split(workspace, "train"),
        )
    )
    for step in range(8):  # of three in an epoch
        expected, found = memory.at(step), file.at(step)
        again = [resumed.at(step)] if step >= 5 else []
        for batch in (found, *again):
            assert list(batch) == list(expected)
            for name, array in expected.items():
                np.testing.assert_array_equal(batch[name], array)


def test_a_batch_is_all_of_a_split_that_is_copied(split: Any, peak: Any) -> None:
    batches = Batches(opened("classification"), split, 8, 0, AugmentParams(flip=False, crop=0))
    assert peak(lambda: batches.at(3)) < 3 * 8 * 256 * 256 * 4


# Frozen, by the code before there were files read by position: sha256 of the whole files.
DIGITS = {
    "train.npz": "f4fe09ec6af4ec7799c335c81e8c6817bc4e3855470e07de260e41fb7b769336",
    "validation.npz": "f010c9f9771413b7e8d7cd37cc02c281bfdddfd45443a268308f6f44b8b002de",
    "test.npz": "49f815d3f1f77b425f4872c3bac7fffeb4ffcef1f779230b526d291f7428ce84",
}


def test_prepared_files_have_the_bytes_that_they_always_had(tmp_path: Path) -> None:
    workspace = Workspace.of(None, tmp_path)
    run(load_params(ROOT / "params.yaml").data, workspace, SilentProgress())
    for name, digest in DIGITS.items():
        assert hashlib.sha256((workspace.data / name).read_bytes()).hexdigest() == digest
    assert set(os.listdir(workspace.data)) == {*DIGITS, "manifest.json"}
