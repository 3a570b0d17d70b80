"""The networks whose latency was published, as op graphs.

Inception, MobileNet and VGG are known to the layer from their papers and code. What is not known
is said where it is written: the heads of the SSDs, the anchors of the face detector, where PoseNet
and BodyPix leave MobileNet. Keras applications and MoveNet come from files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from benchmarks.builder import Builder, Tensor
from hw.tflite.reader import read_tflite
from spaces.families.ibn.space import IbnSpace
from spaces.graph import OpGraph, OpKind
from spaces.heads.classification import classification
from spaces.menu import load_baselines, load_input_shapes, load_space

IMAGENET = 1001
"""Classes of the released classifiers: 1000 and background."""
COCO = 91


@dataclass(frozen=True, slots=True)
class Network:
    """A network and what of it stays on the host for reasons that its graph does not show."""

    name: str
    graph: OpGraph
    refused: tuple[tuple[str, str], ...] = ()


# --- classifiers -----------------------------------------------------------------------------


def classifier_head(net: Builder, x: Tensor, classes: int = IMAGENET) -> Tensor:
    """Mean, 1x1 convolution, softmax: what TF-Slim ends its classifiers with."""
    x = net.conv(net.global_average(x), classes)
    return net.softmax(net.reshape(x, (1, classes)))


def inception_v1() -> OpGraph:
    """GoogLeNet as TF-Slim has it: 5x5 windows are 3x3. 1.498 GMAC."""
    net = Builder((1, 224, 224, 3))
    x = net.max_pool(net.conv(net.input, 64, 7, 2), 3, 2)
    x = net.max_pool(net.conv(net.conv(x, 64), 192, 3), 3, 2)
    for widths in ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)):
        x = _mixed_v1(net, x, *widths)
    x = net.max_pool(x, 3, 2)
    for widths in (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ):
        x = _mixed_v1(net, x, *widths)
    x = net.max_pool(x, 2, 2)
    for widths in ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)):
        x = _mixed_v1(net, x, *widths)
    classifier_head(net, x)
    return net.graph()


def _mixed_v1(net: Builder, x: Tensor, a: int, b: int, c: int, d: int, e: int, f: int) -> Tensor:
    branches = (
        net.conv(x, a),
        net.conv(net.conv(x, b), c, 3),
        net.conv(net.conv(x, d), e, 3),
        net.conv(net.max_pool(x, 3), f),
    )
    return net.concat(branches)


def vgg16() -> OpGraph:
    """VGG-16 with its three dense layers. 15.47 GMAC, 138 million weights."""
    net = Builder((1, 224, 224, 3))
    x = net.input
    for channels, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            x = net.conv(x, channels, 3)
        x = net.max_pool(x, 2, 2)
    x = net.reshape(x, (1, 7 * 7 * 512))
    for units in (4096, 4096, 1000):
        x = net.dense(x, units)
    net.softmax(x)
    return net.graph()


def mobilenet_v1(width: float = 1.0, size: int = 224) -> OpGraph:
    """The classifier. 569 MMAC at full width."""
    net = Builder((1, size, size, 3))
    levels = mobilenet_v1_levels(net, width)
    classifier_head(net, levels[-1])
    return net.graph()


def mobilenet_v1_levels(
    net: Builder, width: float = 1.0, output_stride: int = 32, last: int = 13
) -> list[Tensor]:
    """MobileNet v1 up to block ``last``: what the stem and each block make.

    Beyond ``output_stride`` blocks keep the size of their map and dilate their window instead,
    which costs what the same window costs without dilation.
    """
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    blocks += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    levels, reached = [net.conv(net.input, _width_v1(32, width), 3, 2)], 2
    for channels, stride in blocks[:last]:
        step = stride if reached * stride <= output_stride else 1
        reached *= step
        levels.append(net.conv(net.depthwise(levels[-1], 3, step), _width_v1(channels, width)))
    return levels


def _width_v1(channels: int, width: float) -> int:
    return max(8, int(channels * width + 4) // 8 * 8)


def published(space_name: str, baseline: str, classes: int = IMAGENET) -> OpGraph:
    """A baseline of a space at its published input size, with its classifier."""
    space = load_space(space_name)
    assert isinstance(space, IbnSpace)
    shape = load_input_shapes(space_name).get(baseline, space.input_shape)
    network = load_baselines(space_name)[baseline]
    return classification(space.for_input(shape).lower(network), classes)


# --- detectors -------------------------------------------------------------------------------


def ssd_mobilenet_v1() -> OpGraph:
    """SSD on MobileNet v1, COCO, 300x300 as its released file; coral.ai's table says 224."""
    net = Builder((1, 300, 300, 3))
    levels = mobilenet_v1_levels(net)
    _ssd_heads(net, [levels[11], levels[13]], COCO, (3, 6, 6, 6, 6, 6))
    return net.graph()


def ssd_mobilenet_v2() -> OpGraph:
    """SSD on MobileNet v2, COCO, 300x300 likewise."""
    net = Builder((1, 300, 300, 3))
    _ssd_heads(net, _mobilenet_v2_levels(net), COCO, (3, 6, 6, 6, 6, 6))
    return net.graph()


def ssd_face() -> OpGraph:
    """The face detector of google-coral/test_data: SSD on MobileNet v2, 320x320.

    Guessed: three anchors at each level, and the class of a face beside background.
    """
    net = Builder((1, 320, 320, 3))
    _ssd_heads(net, _mobilenet_v2_levels(net), 2, (3,) * 6)
    return net.graph()


def _mobilenet_v2_levels(net: Builder) -> list[Tensor]:
    """What SSD reads of MobileNet v2: the expansion in block 13 at stride 16, and the top."""
    x = net.conv(net.depthwise(net.conv(net.input, 32, 3, 2)), 16)
    expansions = []
    for channels, blocks, stride in (
        (24, 2, 2),
        (32, 3, 2),
        (64, 4, 2),
        (96, 3, 1),
        (160, 3, 2),
        (320, 1, 1),
    ):
        for block in range(blocks):
            expansions.append(net.conv(x, 6 * x.shape[3]))
            step = stride if block == 0 else 1
            projected = net.conv(net.depthwise(expansions[-1], 3, step), channels)
            x = net.add(projected, x) if projected.shape == x.shape else projected
    return [expansions[12], net.conv(x, 1280)]


def _ssd_heads(
    net: Builder, levels: Sequence[Tensor], classes: int, anchors: Sequence[int]
) -> None:
    """Four more levels, boxes and classes at each, and post-processing.

    Guessed: the heads' windows are 1x1, as the configurations of the TensorFlow object detection
    API for these two networks have them; the compiled files do not tell.
    """
    maps = list(levels)
    for narrow, wide in ((256, 512), (128, 256), (128, 256), (64, 128)):
        maps.append(net.conv(net.conv(maps[-1], narrow), wide, 3, 2))
    boxes, scores = [], []
    for count, x in zip(anchors, maps, strict=True):
        places = x.shape[1] * x.shape[2] * count
        boxes.append(net.reshape(net.conv(x, 4 * count), (1, places, 1, 4)))
        scores.append(net.reshape(net.conv(x, classes * count), (1, places, 1, classes)))
    all_boxes, all_scores = net.concat(boxes, axis=1), net.concat(scores, axis=1)
    total = all_boxes.shape[1]
    box = net.reshape(all_boxes, (1, total, 4))
    score = net.reshape(all_scores, (1, total, classes))
    score = net.op(OpKind.LOGISTIC, (score,), score.shape)
    net.op(OpKind.TFLITE_DETECTION_POSTPROCESS, (score, box), (1, 20, 4))


# --- pose and body parts ---------------------------------------------------------------------


def on_mobilenet_v1(height: int, width: int, heads: Sequence[int]) -> OpGraph:
    """PoseNet and BodyPix: MobileNet v1 0.75 at stride 16, and a 1x1 convolution for each head.

    Guessed: they leave MobileNet behind block 12. The compiled packages hold 2 to 5 % other
    parameter bytes than this network; a block more or less is 20 % off. The decoder on the host is
    no part of it.
    """
    net = Builder((1, height, width, 3))
    end = mobilenet_v1_levels(net, 0.75, output_stride=16, last=12)[-1]
    for channels in heads:
        net.conv(end, channels)
    return net.graph()


POSE_HEADS = (17, 34, 64)
"""Key points, offsets, displacements: outputs of the compiled PoseNets."""
BODY_HEADS = (17, 34, 64, 1, 24, 34)
"""The same of the compiled BodyPixes: also a person's mask, parts and their offsets."""


# --- all of them -----------------------------------------------------------------------------


def _built() -> Mapping[str, Callable[[], OpGraph]]:
    from benchmarks.inception_v4 import inception_v4

    return {
        "Inception v1": inception_v1,
        "Inception v4": inception_v4,
        "VGG16": vgg16,
        "MobileNet v1": mobilenet_v1,
        "MobileNet v1 0.25 128": lambda: mobilenet_v1(0.25, 128),
        "EfficientNet-EdgeTPU-S": lambda: published("efficientnet_edgetpu", "s"),
        "SSD MobileNet v1": ssd_mobilenet_v1,
        "SSD MobileNet v2": ssd_mobilenet_v2,
        "SSD face": ssd_face,
        "PoseNet 353x481": lambda: on_mobilenet_v1(353, 481, POSE_HEADS),
        "PoseNet 481x641": lambda: on_mobilenet_v1(481, 641, POSE_HEADS),
        "PoseNet 721x1281": lambda: on_mobilenet_v1(721, 1281, POSE_HEADS),
        "BodyPix 352x480": lambda: on_mobilenet_v1(352, 480, BODY_HEADS),
        "BodyPix 512x512": lambda: on_mobilenet_v1(512, 512, BODY_HEADS),
    }


FILES = {
    "MoveNet Lightning": "movenet_single_pose_lightning_ptq.tflite",
    "EfficientNetB0": "EfficientNetB0.tflite",
    "InceptionV3": "InceptionV3.tflite",
    "ResNet50": "ResNet50.tflite",
    "ResNet101": "ResNet101.tflite",
    "ResNet101V2": "ResNet101V2.tflite",
    "Xception": "Xception.tflite",
}
"""Those that come from files: MoveNet from google-coral/test_data, Keras applications from
``python -m benchmarks.keras_networks``."""


@final
class Networks:
    """Networks by name; each is made once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Files are looked for in ``folders``, in this order."""
        self._folders = tuple(folders)
        self._built = _built()
        self._known: dict[str, Network] = {}

    def find(self, name: str) -> Network | None:
        """The network of that name; None where its file is not at hand.

        Raises:
            KeyError: Nobody knows of it.
        """
        if name not in self._known:
            found = self._make(name)
            if found is None:
                return None
            self._known[name] = found
        return self._known[name]

    def _make(self, name: str) -> Network | None:
        if name in self._built:
            return Network(name, self._built[name]())
        paths = [folder / FILES[name] for folder in self._folders]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return None
        model = read_tflite(path)
        return Network(name, model.graph, model.unsupported)
