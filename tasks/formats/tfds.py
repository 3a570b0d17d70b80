"""Classification sets of TensorFlow Datasets by name, such as ``tf_flowers``; an optional extra.

The pictures are held in memory as they are before they are resized, so this is for sets of some
gigabytes at most.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tasks.data.dataset import SPLITS, DataError, RawData, Sample, Source, Split


def read(source: Source) -> RawData:
    """Read a data set of the catalogue, downloading it at first use.

    Raises:
        DataError: The package is not installed, the set is unknown or cannot be fetched, or it is
            no set of pictures with one label each.
    """
    if not source.location:
        raise DataError("data.source must name a data set of tensorflow-datasets, but got none.")
    try:
        tfds = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise DataError(
            "data.format tfds must find tensorflow-datasets, but it is not installed. "
            'Install it: pip install -e ".[tfds]"'
        ) from error
    try:
        splits, info = tfds.load(
            source.location, as_supervised=True, shuffle_files=False, with_info=True
        )
        label = info.features[info.supervised_keys[1]]
        classes = tuple(str(name) for name in label.names)
    except Exception as error:  # the package has no common base for its errors
        raise DataError(
            f"{source.location} must be a set of pictures with one label each that "
            f"tensorflow-datasets can fetch, but got: {str(error).splitlines()[0:1]}."
        ) from error
    found = {s: _samples(s, tfds.as_numpy(splits[s])) for s in SPLITS if s in splits}
    if "train" not in found:
        raise DataError(f"{source.location} must have a train split, but got {sorted(splits)}.")
    return RawData(source.location, classes, found)


def _samples(split: Split, pairs: Any) -> tuple[Sample, ...]:
    """Samples from pairs of pixels and label."""
    return tuple(
        Sample(f"{split}/{int(label)}/{index:07d}", int(label), np.asarray(image, np.uint8))
        for index, (image, label) in enumerate(pairs)
    )
