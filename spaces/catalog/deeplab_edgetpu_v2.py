"""DeepLabV3+ on the space of MobileNetEdgeTPUV2, with the released networks as points; 512 pixels.

The release puts the head behind its searched classifiers as they are. The pyramid reads the map of
stride 32, and the fine features are those of stride 16, at which the network ends: in the
release's numbers these are levels 4 and 3, because its level 0 is the stem's output, of stride 2.

``xs``, ``s`` and ``m`` are the networks of 32 classes; ``xs_151`` and so on those of 151, whose
heads are wider.

Source: tensorflow/models ``official/projects/edgetpu/vision/configs``,
``semantic_segmentation_config.py``; ``official/vision/modeling/heads/segmentation_heads.py``.
"""

from __future__ import annotations

import dataclasses

from spaces.catalog import mobilenet_edgetpu_v2 as classifiers
from spaces.families.segmentation.choices import DEEPLAB, PREFIX, HeadChoices
from spaces.families.segmentation.space import SegmentationSpace
from spaces.space import Architecture, Value

PROBLEMS = ("segmentation",)

SPACE = SegmentationSpace(
    backbone=dataclasses.replace(
        classifiers.SPACE, name="deeplab_edgetpu_v2", input_shape=(1, 512, 512, 3), top_widths=()
    ),
    head=HeadChoices(
        kinds=(DEEPLAB,),
        strides=(4, 8, 16),
        channels=(64, 96, 128, 160),
        repeats=(1, 2),
        dilations=(2, 3, 5, 6),
        low_channels=(32, 48, 64),
        decoder_channels=(128, 192, 256),
    ),
)


def _released(size: str, channels: int, low_channels: int) -> Architecture:
    head: dict[str, Value] = {
        "kind": DEEPLAB,
        "stride": 16,
        "channels": channels,
        "repeats": 2,
        "dilation": 5,
        "low_channels": low_channels,
        "decoder_channels": 256,
    }
    backbone = classifiers.BASELINES[size].values
    del backbone["top/channels"]
    return Architecture.of(
        SPACE.name, backbone | {PREFIX + name: value for name, value in head.items()}
    )


BASELINES = {size: _released(size, 128, 48) for size in ("xs", "s", "m")} | {
    f"{size}_151": _released(size, 160, 64) for size in ("xs", "s", "m")
}
