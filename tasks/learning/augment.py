"""Random changes of training samples and their targets, functions of the generator alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tasks.run.params import AugmentParams

IGNORE = 255
"""Of a mask: what moves in from outside of the picture belongs to no class."""
LEAST_LEFT = 0.3
"""Share of a box that must still be seen, or it is dropped."""
SPECIAL_TOKENS, UNKNOWN = 4, 1
"""Of every vocabulary here: [PAD], [UNK], [CLS] and [SEP] come first, in this order."""

Batch = dict[str, NDArray[Any]]


def pictures(arrays: Batch, params: AugmentParams, rng: np.random.Generator) -> Batch:
    """Zoom, shift, mirror, turn and colour pictures; ``masks`` and ``boxes`` move along.

    Args:
        arrays: ``images`` uint8 [n, H, W, C] and targets of them.
        params: ``scale``: zoom between 1 - scale and 1 + scale. ``crop``: shift by up to so many
            pixels, zeros moving in. ``flip``: mirror half of them. ``turn``: by any number of
            quarters, of halves where they are not square. ``colour``: gain and offset of each
            channel by up to this share.
        rng: Source of all randomness.
    """
    batch = dict(arrays)
    count = len(batch["images"])
    shifts = rng.integers(0, 2 * params.crop + 1, (2, count)) if params.crop else None
    mirrored = np.less(rng.random(count), 0.5) if params.flip else None
    if params.scale:
        batch = _zoomed(batch, rng.uniform(1 - params.scale, 1 + params.scale, count))
    if shifts is not None:
        batch = _shifted(batch, params.crop, shifts)
    if mirrored is not None:
        batch = _mirrored(batch, mirrored)
    if params.turn:
        batch = _turned(batch, rng)
    if params.colour:
        batch["images"] = _coloured(batch["images"], params.colour, rng)
    return batch


def mixed(arrays: Batch, share: float, rng: np.random.Generator) -> Batch:
    """A rectangle of a ``share`` of the pictures comes from another picture of the batch (CutMix).

    Its area is uniform in 0..1 of the picture (Yun et al. 2019, arXiv:1905.04899).

    Args:
        arrays: ``images`` uint8 [n, H, W, C] and ``labels`` int32 [n].
        share: Of the pictures, 0..1; 0 changes nothing.
        rng: Source of all randomness.

    Returns:
        The same, and where there is a share ``others`` int32 [n], labels of those that were taken
        from, and ``kept`` float32 [n], the part of each picture that is its own.
    """
    if not share:
        return dict(arrays)
    images = arrays["images"].copy()
    count, height, width = images.shape[:3]
    partners, kept = rng.permutation(count), np.ones(count, np.float32)
    for index in np.flatnonzero(rng.random(count) < share):
        side = math.sqrt(rng.random())
        tall, wide = int(side * height), int(side * width)
        top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
        there = slice(top, top + tall), slice(left, left + wide)
        images[index][there] = arrays["images"][partners[index]][there]
        kept[index] = 1.0 - tall * wide / (height * width)
    return {**arrays, "images": images, "others": arrays["labels"][partners], "kept": kept}


def tokens(arrays: Batch, params: AugmentParams, rng: np.random.Generator) -> Batch:
    """Replace a share ``drop_tokens`` of the words by the unknown one; targets stay."""
    if not params.drop_tokens:
        return dict(arrays)
    given = arrays["tokens"]
    lost = (rng.random(given.shape) < params.drop_tokens) & (given >= SPECIAL_TOKENS)
    return {**arrays, "tokens": np.where(lost, UNKNOWN, given).astype(given.dtype)}


def _zoomed(batch: Batch, factors: NDArray[Any]) -> Batch:
    """Zoomed about the middle, pictures bilinearly, masks to the nearest pixel."""
    images = batch["images"]
    height, width = images.shape[1:3]
    result = {**batch, "images": np.empty_like(images)}
    if "masks" in batch:
        result["masks"] = np.empty_like(batch["masks"])
    for index, factor in enumerate(factors):
        picture = _resampled(images[index].astype(np.float32), height, factor, axis=0)
        picture = _resampled(picture, width, factor, axis=1)
        result["images"][index] = np.rint(picture)
        if "masks" in batch:
            result["masks"][index] = _nearest(batch["masks"][index], factor)
    if "boxes" in batch:
        around = (batch["boxes"] - 0.5) * factors[:, None, None] + 0.5
        result |= _clipped(around, batch["labels"])
    return result


def _sources(size: int, factor: float) -> NDArray[np.float64]:
    """Where each pixel of a zoomed line comes from."""
    sources: NDArray[Any] = (np.arange(size) - (size - 1) / 2) / factor + (size - 1) / 2
    return sources


def _resampled(
    picture: NDArray[np.float32], size: int, factor: float, axis: int
) -> NDArray[np.float32]:
    """A picture zoomed along an axis between its two nearest pixels; outside there is nothing."""
    sources = _sources(size, factor)
    low = np.floor(sources).astype(int)
    shape = (-1, *(1,) * (picture.ndim - axis - 1))
    result: NDArray[np.float32] = np.zeros_like(picture)
    for places, weights in ((low, 1.0 - (sources - low)), (low + 1, sources - low)):
        weights = np.where((places >= 0) & (places < size), weights, 0.0)
        taken = picture.take(np.clip(places, 0, size - 1), axis)
        result += taken * weights.reshape(shape).astype(np.float32)
    return result


def _nearest(mask: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    rows, columns = (np.round(_sources(size, factor)).astype(int) for size in mask.shape)
    inside = [(line >= 0) & (line < size) for line, size in zip((rows, columns), mask.shape)]  # noqa: B905
    picked = mask[np.clip(rows, 0, mask.shape[0] - 1)][:, np.clip(columns, 0, mask.shape[1] - 1)]
    return np.where(inside[0][:, None] & inside[1][None, :], picked, IGNORE).astype(np.uint8)


def _shifted(batch: Batch, most: int, shifts: NDArray[np.int64]) -> Batch:
    result = {**batch, "images": _windows(batch["images"], most, shifts, 0)}
    if "masks" in batch:
        masks = _windows(batch["masks"][..., None], most, shifts, IGNORE)
        result["masks"] = masks[..., 0]
    if "boxes" in batch:
        height, width = batch["images"].shape[1:3]
        moved = (most - shifts).T / np.array([height, width])
        boxes = batch["boxes"] + np.tile(moved, 2)[:, None, :]
        result |= _clipped(boxes, batch["labels"])
    return result


def _windows(
    maps: NDArray[np.uint8], most: int, shifts: NDArray[np.int64], outside: int
) -> NDArray[np.uint8]:
    height, width = maps.shape[1:3]
    pad = ((0, 0), (most, most), (most, most), (0, 0))
    padded = np.pad(maps, pad, constant_values=outside)
    windows = sliding_window_view(padded, (height, width), axis=(1, 2))
    chosen = windows[np.arange(len(maps)), shifts[0], shifts[1]]
    return np.ascontiguousarray(np.moveaxis(chosen, 1, -1))


def _mirrored(batch: Batch, which: NDArray[np.bool_]) -> Batch:
    result = dict(batch)
    for name in ("images", "masks"):
        if name in batch:
            result[name] = batch[name].copy()
            result[name][which] = batch[name][which, :, ::-1]
    if "boxes" in batch:
        boxes = batch["boxes"]
        other = np.stack(
            [boxes[..., 0], 1 - boxes[..., 3], boxes[..., 2], 1 - boxes[..., 1]], axis=-1
        )
        result["boxes"] = np.where(which[:, None, None], other, boxes).astype(boxes.dtype)
    return result


def _turned(batch: Batch, rng: np.random.Generator) -> Batch:
    height, width = batch["images"].shape[1:3]
    quarters = rng.integers(4, size=len(batch["images"]))
    if height != width:
        quarters -= quarters % 2
    result = dict(batch)
    for name in ("images", "masks"):
        if name in batch:
            result[name] = batch[name].copy()
            for index in np.flatnonzero(quarters):
                result[name][index] = np.rot90(batch[name][index], quarters[index])
    if "boxes" in batch:
        boxes = batch["boxes"]
        for done in range(3):  # to the left, as of np.rot90
            top, left, bottom, right = np.moveaxis(boxes, -1, 0)
            once = np.stack([1 - right, top, 1 - left, bottom], axis=-1)
            boxes = np.where((quarters > done)[:, None, None], once, boxes)
        result["boxes"] = boxes.astype(batch["boxes"].dtype)
    return result


def _clipped(boxes: NDArray[Any], labels: NDArray[np.int32]) -> Batch:
    """Boxes within the picture; those of which too little is left are no longer there."""
    inside = np.clip(boxes, 0.0, 1.0)
    left, whole = _area(inside), _area(boxes)
    kept = left > LEAST_LEFT * np.maximum(whole, 1e-12)
    return {
        "boxes": inside.astype(np.float32),
        "labels": np.where(kept, labels, -1).astype(labels.dtype),
    }


def _area(boxes: NDArray[Any]) -> NDArray[Any]:
    area: NDArray[Any] = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


def _coloured(
    images: NDArray[np.uint8], amount: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    count, channels = len(images), images.shape[-1]
    shape = (count, channels, 1)
    gain = rng.uniform(1 - amount, 1 + amount, shape)
    offset = rng.uniform(-amount, amount, shape) * 127.5
    # A table of what becomes of each of the 256 values is several times as fast as arithmetic.
    tables = np.clip(np.rint((np.arange(256) - 127.5) * gain + 127.5 + offset), 0, 255)
    tables = tables.astype(np.uint8)
    result = np.empty_like(images)
    for index in range(count):
        for channel in range(channels):
            result[index, ..., channel] = tables[index, channel][images[index, ..., channel]]
    return result
