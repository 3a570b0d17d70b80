"""People's data, in whichever format, to arrays of one size and a manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from tasks.data import losses
from tasks.data.dataset import (
    SPLITS,
    AnySample,
    DataError,
    RawData,
    Skipped,
    Source,
    Split,
    read_source,
)
from tasks.data.kind import (
    Finished,
    Kind,
    Loaded,
    Member,
    Members,
    load_kind,
    main_reason,
    merge_skipped,
    notes_of,
    summary_of,
)
from tasks.data.splits import (
    Fractions,
    Item,
    Splits,
    carve,
    carve_groups,
    drop_duplicates,
    interleave,
)
from tasks.data.spool import Spool
from tasks.data.symmetry import symmetry_of
from tasks.run.manifest import DataManifest
from tasks.run.params import DataParams
from tasks.run.progress import Progress
from tasks.run.rows import blocks
from tasks.run.workspace import (
    Workspace,
    explain_full_disk,
    map_npz,
    write_bytes,
    write_npz,
)

_TOGETHER: Final = 2048  # samples that wait for a thread at a time
_NAMED = 20  # unusable samples that the manifest names; the rest is only counted


def run(params: DataParams, workspace: Workspace, progress: Progress) -> dict[str, object]:
    """Write ``data/{train,validation,test}.npz`` and ``data/manifest.json``, all or nothing.

    The arrays are those of the kind of data (``tasks/kinds``), as many of each as there are
    samples. There is no ``test.npz`` when the source has no test split and ``test_fraction`` is 0.

    Pictures are decoded to the disk and written from there: memory holds a few of them at a time,
    the disk all of them twice until the stage is done.

    Returns:
        The manifest.

    Raises:
        DataError: The source cannot be used; the message says why and names the culprit.
        WorkspaceError: The disk is full.
    """
    raw = read_source(params.format, Source(params.source, params.boxes))
    kind = load_kind(raw.kind)
    losses.check_source(raw, params.allowed_loss)
    _check_classes(raw, kind)
    with Spool(workspace.root) as spool:
        return _prepared(raw, kind, params, workspace, spool, progress)


def _prepared(
    raw: RawData,
    kind: Kind,
    params: DataParams,
    workspace: Workspace,
    spool: Spool,
    progress: Progress,
) -> dict[str, object]:
    """Decode, split and write what was read; returns the manifest."""
    samples = [sample for split in SPLITS for sample in raw.splits.get(split, ())]
    loaded = _load_all(samples, raw, kind, params, spool, progress)
    skipped = _skipped(raw, loaded)
    lost = losses.losses_of(raw.splits, skipped)
    losses.check(lost, params.allowed_loss)
    splits, duplicates = _split(raw, kind, samples, loaded, params)
    finished = kind.finish(_members(splits, samples, loaded, params.seed), raw, params)
    manifest: dict[str, object] = {
        "problem": raw.kind,
        "format": params.format,
        "source": raw.name,
        "source_sha256": _source_sha256(samples, loaded),
        "synthetic": raw.synthetic,
        "classes": list(raw.classes),
        "seed": params.seed,
        "split_rule": _split_rule(raw, kind, params),
        "duplicates": duplicates,
        "unreadable": _unusable(samples, loaded, params),
        "skipped": summary_of(merge_skipped(*skipped.values(), finished.skipped)),
        "lost": [dataclasses.asdict(loss) for loss in lost],
        "ignored_files": raw.ignored_files,
        "ignored_folders": list(raw.ignored_folders),
        **finished.facts,
    }
    with _new_folder(workspace.data) as folder:
        written = {split: _write(folder, split, finished) for split in finished.arrays}
        manifest |= symmetry_of(written["train"])._asdict()
        manifest["splits"] = {
            split: {
                **finished.counts[split],
                **_describe(arrays),
                "carved": split not in raw.splits,
            }
            for split, arrays in written.items()
        }
        for name, text in finished.files.items():
            write_bytes(folder / name, text.encode())
        DataManifest.of(manifest).write(folder)
    return manifest


def _check_classes(raw: RawData, kind: Kind) -> None:
    """Refuse what no later step could mend."""
    if len(raw.classes) < kind.least_classes:
        classes = "class" if kind.least_classes == 1 else "classes"
        raise DataError(
            f"a data set must have at least {kind.least_classes} {classes}, "
            f"but got {', '.join(raw.classes) or 'none'}."
        )
    repeated = [name for name, count in Counter(raw.classes).items() if count > 1]
    if repeated:
        raise DataError(f"names of classes must differ, but got {', '.join(repeated)} repeatedly.")


def _load_all(
    samples: Sequence[AnySample],
    raw: RawData,
    kind: Kind,
    params: DataParams,
    spool: Spool,
    progress: Progress,
) -> list[Loaded]:
    """Every sample, in order, loaded by several threads; what is large in it is in ``spool``."""

    def one(sample: AnySample) -> Loaded:
        result = kind.load(sample, raw, params)
        return dataclasses.replace(result, content=spool.keep(result.content))

    loaded: list[Loaded] = []
    progress.start(f"prepare: {kind.noun}", len(samples))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for first in range(0, len(samples), _TOGETHER):
                part = samples[first : first + _TOGETHER]
                for sample, result in zip(part, pool.map(one, part), strict=True):
                    if result.content is None and params.on_unreadable == "fail":
                        raise _unusable_error(kind, sample, result)
                    loaded.append(result)
                    progress.advance(len(loaded))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            progress.finish()
    return loaded


def _unusable_error(kind: Kind, sample: AnySample, result: Loaded) -> DataError:
    """The error for a sample that cannot be used."""
    return DataError(
        f"{kind.demand}, but got {sample.name!r}: {result.reason}. "
        "Repair or remove it, or set data.on_unreadable to skip."
    )


def _unusable(
    samples: Sequence[AnySample], loaded: Sequence[Loaded], params: DataParams
) -> dict[str, object]:
    """How many samples were skipped, and the first of their names."""
    pairs = zip(samples, loaded, strict=True)
    names = [sample.name for sample, result in pairs if result.content is None]
    return {"rule": params.on_unreadable, "count": len(names), "names": names[:_NAMED]}


def _skipped(raw: RawData, loaded: Sequence[Loaded]) -> dict[Split, Skipped]:
    """What was left out of each split of the source, or changed in it, by reason."""
    found: dict[Split, Skipped] = {}
    start = 0
    for split in SPLITS:
        samples = raw.splits.get(split, ())
        pairs = list(zip(samples, loaded[start : start + len(samples)], strict=True))
        start += len(samples)
        unusable = [f"{s.name}: {r.reason}" for s, r in pairs if r.content is None]
        found[split] = merge_skipped(
            raw.skipped.get(split, {}),
            {losses.UNUSABLE: unusable},
            notes_of((sample.name, result.notes) for sample, result in pairs),
        )
    return found


def _split(
    raw: RawData,
    kind: Kind,
    samples: Sequence[AnySample],
    loaded: Sequence[Loaded],
    params: DataParams,
) -> tuple[Splits, dict[str, int]]:
    """Which usable sample is in which split, and how many there are twice."""
    fractions = Fractions(params.validation_fraction, params.test_fraction)
    given = _items(raw, loaded)
    _check(raw, kind, _members(given, samples, loaded, params.seed))
    if kind.stratified:
        carved = carve(given, raw.classes, fractions, params.seed, kind.noun)
    else:
        carved = carve_groups(given, fractions, params.seed, kind.noun)
    splits, duplicates = drop_duplicates(carved)
    _check(raw, kind, _members(splits, samples, loaded, params.seed))
    return splits, duplicates


def _check(raw: RawData, kind: Kind, members: Members) -> None:
    """Refuse a split that is empty, and what the kind of data refuses."""
    for split, part in members.items():
        if not part:
            raise DataError(
                f"each split must have {kind.noun} that can be used, but got none in {split} "
                f"of {raw.name}{main_reason(merge_skipped(*raw.skipped.values()))}."
            )
    kind.check(members, raw)


def _items(raw: RawData, loaded: Sequence[Loaded]) -> Splits:
    """The usable samples of each split that the source has."""
    items: dict[Split, tuple[Item, ...]] = {}
    start = 0
    for split in SPLITS:
        if split not in raw.splits:
            continue
        end = start + len(raw.splits[split])
        items[split] = tuple(
            Item(index, each.label, each.sha256, each.group)
            for index, each in enumerate(loaded[start:end], start)
            if each.content is not None
        )
        start = end
    return items


def _members(
    splits: Splits, samples: Sequence[AnySample], loaded: Sequence[Loaded], seed: int
) -> dict[Split, list[Member]]:
    """The samples of each split, in the order of the arrays."""
    return {
        split: [
            Member(samples[item.index].name, loaded[item.index].content)
            for item in interleave(splits[split], seed)
        ]
        for split in SPLITS
        if split in splits
    }


def _write(folder: Path, split: Split, finished: Finished) -> Mapping[str, NDArray[Any]]:
    """Write the arrays of a split; returns them as they lie on the disk."""
    path = folder / f"{split}.npz"
    write_npz(path, finished.arrays[split])
    return map_npz(path)


def _describe(arrays: Mapping[str, NDArray[Any]]) -> dict[str, object]:
    """The count of samples, and a digest of each array."""
    digests = {f"{name}_sha256": _sha256(array) for name, array in arrays.items()}
    return {"items": len(next(iter(arrays.values()))), **digests}


def _sha256(array: NDArray[Any]) -> str:
    """Of an array's values, the lowest byte first, a block at a time."""
    digest, order = hashlib.sha256(), array.dtype.newbyteorder("<")
    for block in blocks(array):
        digest.update(block.astype(order, copy=False).tobytes())
    return digest.hexdigest()


def _source_sha256(samples: Sequence[AnySample], loaded: Sequence[Loaded]) -> str:
    """One digest over the sorted pairs of relative name and content, unusable ones included."""
    digest = hashlib.sha256()
    named = (
        (os.fsencode(sample.name), each.sha256 + each.target_sha256)
        for sample, each in zip(samples, loaded, strict=True)
    )
    for name, sha256 in sorted(named):
        digest.update(name + b"\0" + sha256.encode() + b"\n")
    return digest.hexdigest()


def _split_rule(raw: RawData, kind: Kind, params: DataParams) -> str:
    """How the splits came about, in words."""
    how = "by class" if kind.stratified else "at random"
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
            parts.append(f"{split} is {fraction:g} of train, {how}, seed {params.seed}")
    parts.append("train loses exact duplicates of validation and test")
    return "; ".join(parts)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill beside ``folder``, which takes its place if nothing goes wrong."""
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for left_over in (fresh, old):
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        with explain_full_disk(folder):
            fresh.mkdir(parents=True)
        yield fresh
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
