"""People's data, in whichever format, to arrays of one size and a manifest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.dataset import SPLITS, DataError, Pixels, RawData, Sample, Source, Split, read_source
from tasks.params import DataParams
from tasks.pictures import Decoded, decode
from tasks.progress import Progress
from tasks.splits import (
    Fractions,
    Item,
    Splits,
    carve,
    check_classes,
    drop_duplicates,
    interleave,
)
from tasks.workspace import Workspace, explain_full_disk, write_json, write_npz

_NAMED = 20  # unreadable pictures that the manifest names; the rest is only counted


def run(params: DataParams, workspace: Workspace, progress: Progress) -> dict[str, object]:
    """Write ``data/{train,validation,test}.npz`` and ``data/manifest.json``, all or nothing.

    Arrays: ``images`` uint8 [N, H, W, C], ``labels`` int32 [N]. There is no ``test.npz`` when the
    source has no test split and ``test_fraction`` is 0.

    Returns:
        The manifest.

    Raises:
        DataError: The source cannot be used; the message says why and names the culprit.
        WorkspaceError: The disk is full.
    """
    raw = read_source(params.format, Source(params.source))
    _check_labels(raw)
    samples = [sample for split in SPLITS for sample in raw.splits.get(split, ())]
    decoded = _decode_all(samples, params, progress)
    unreadable = _unreadable(samples, decoded, params)
    fractions = Fractions(params.validation_fraction, params.test_fraction)
    given = _items(raw, decoded)
    check_classes(given, raw.classes)
    carved = carve(given, raw.classes, fractions, params.seed)
    splits, duplicates = drop_duplicates(carved)
    check_classes(splits, raw.classes)
    arrays = _arrays(splits, decoded, params.seed)
    manifest: dict[str, object] = {
        "format": params.format,
        "source": raw.name,
        "source_sha256": _source_sha256(samples, decoded),
        "classes": list(raw.classes),
        "image_size": params.image_size,
        "channels": int(arrays["train"]["images"].shape[3]),
        "fit": params.fit,
        "seed": params.seed,
        "split_rule": _split_rule(raw, params),
        "splits": {
            split: {**_describe(arrays[split], raw.classes), "carved": split not in raw.splits}
            for split in arrays
        },
        "channel_mean": _channel_mean(arrays["train"]["images"]),
        "duplicates": duplicates,
        "unreadable": unreadable,
        "ignored_files": raw.ignored_files,
        "ignored_folders": list(raw.ignored_folders),
    }
    _replace_folder(workspace.data, arrays, manifest)
    return manifest


def _check_labels(raw: RawData) -> None:
    """Refuse what no later step could mend."""
    if len(raw.classes) < 2:
        raise DataError(
            f"a data set must have at least 2 classes, but got {', '.join(raw.classes) or 'none'}."
        )
    repeated = [name for name, count in Counter(raw.classes).items() if count > 1]
    if repeated:
        raise DataError(f"names of classes must differ, but got {', '.join(repeated)} repeatedly.")


def _decode_all(
    samples: Sequence[Sample], params: DataParams, progress: Progress
) -> list[Decoded]:
    """Every picture, in the order of the samples, read by several threads."""

    def one(sample: Sample) -> Decoded:
        return decode(sample, params.image_size, params.fit, params.channels)

    decoded: list[Decoded] = []
    progress.start("prepare: pictures", len(samples))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for sample, result in zip(samples, pool.map(one, samples), strict=True):
                if result.pixels is None and params.on_unreadable == "fail":
                    raise _unreadable_error(sample, result)
                decoded.append(result)
                progress.advance(len(decoded))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            progress.finish()
    return decoded


def _unreadable_error(sample: Sample, result: Decoded) -> DataError:
    """The error for a picture that cannot be decoded."""
    return DataError(
        f"every picture must be readable, but got {sample.name!r}: {result.reason}. "
        "Repair or remove it, or set data.on_unreadable to skip."
    )


def _unreadable(
    samples: Sequence[Sample], decoded: Sequence[Decoded], params: DataParams
) -> dict[str, object]:
    """How many pictures were skipped, and the first of their names."""
    pairs = zip(samples, decoded, strict=True)
    names = [sample.name for sample, result in pairs if result.pixels is None]
    return {"rule": params.on_unreadable, "count": len(names), "names": names[:_NAMED]}


def _items(raw: RawData, decoded: Sequence[Decoded]) -> Splits:
    """The readable samples of each split that the source has."""
    items: dict[Split, tuple[Item, ...]] = {}
    start = 0
    for split in SPLITS:
        if split not in raw.splits:
            continue
        numbered = enumerate(raw.splits[split], start)
        items[split] = tuple(
            Item(index, sample.label, decoded[index].sha256)
            for index, sample in numbered
            if decoded[index].pixels is not None
        )
        start += len(raw.splits[split])
    return items


def _arrays(
    splits: Splits, decoded: Sequence[Decoded], seed: int
) -> dict[Split, dict[str, NDArray[Any]]]:
    """Images and labels of each split; grey is repeated where another picture has colour."""
    used = [item for items in splits.values() for item in items]
    channels = max(_pixels(decoded, item).shape[2] for item in used)
    arrays: dict[Split, dict[str, NDArray[Any]]] = {}
    for split in SPLITS:
        if split not in splits:
            continue
        items = interleave(splits[split], seed)
        side = _pixels(decoded, items[0]).shape[0]
        images = np.empty((len(items), side, side, channels), np.uint8)
        for place, item in enumerate(items):
            images[place] = _pixels(decoded, item)  # broadcasts one channel to three
        labels = np.array([item.label for item in items], np.int32)
        arrays[split] = {"images": images, "labels": labels}
    return arrays


def _pixels(decoded: Sequence[Decoded], item: Item) -> Pixels:
    """The pixels of an item, which is readable or would be none."""
    pixels = decoded[item.index].pixels
    assert pixels is not None
    return pixels


def _describe(arrays: Mapping[str, NDArray[Any]], classes: Sequence[str]) -> dict[str, object]:
    """Counts and digests of one split."""
    images, labels = arrays["images"], arrays["labels"]
    counts = np.bincount(labels, minlength=len(classes))
    return {
        "images": len(labels),
        "images_per_class": dict(zip(classes, map(int, counts), strict=True)),
        "images_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
        "labels_sha256": hashlib.sha256(labels.astype("<i4").tobytes()).hexdigest(),
    }


def _channel_mean(images: Pixels) -> list[float]:
    """Mean pixel (0..255) of each channel, over train."""
    totals = images.sum(axis=(0, 1, 2), dtype=np.int64)
    return [int(total) / (images.size // images.shape[3]) for total in totals]


def _source_sha256(samples: Sequence[Sample], decoded: Sequence[Decoded]) -> str:
    """One digest over the sorted pairs of relative name and content, unreadable ones included."""
    digest = hashlib.sha256()
    named = ((os.fsencode(s.name), d.sha256) for s, d in zip(samples, decoded, strict=True))
    for name, sha256 in sorted(named):
        digest.update(name + b"\0" + sha256.encode() + b"\n")
    return digest.hexdigest()


def _split_rule(raw: RawData, params: DataParams) -> str:
    """How the splits came about, in words."""
    parts = [f"{' and '.join(s for s in SPLITS if s in raw.splits)} as given"]
    for split, fraction in (
        ("test", params.test_fraction),
        ("validation", params.validation_fraction),
    ):
        if split in raw.splits:
            continue
        if fraction == 0:
            parts.append("no test split")
        else:
            parts.append(f"{split} is {fraction:g} of train, by class, seed {params.seed}")
    parts.append("train loses exact duplicates of validation and test")
    return "; ".join(parts)


def _replace_folder(
    folder: Path,
    arrays: Mapping[Split, Mapping[str, NDArray[Any]]],
    manifest: Mapping[str, object],
) -> None:
    """Write everything beside the folder, then put it in the folder's place."""
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for left_over in (fresh, old):
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        with explain_full_disk(folder):
            fresh.mkdir(parents=True)
        for split, contents in arrays.items():
            write_npz(fresh / f"{split}.npz", contents)
        write_json(fresh / "manifest.json", manifest)
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
