"""Published latencies of networks that are at hand: the rows that profiles are fitted to.

Each reader takes the rows of one CSV file, with its public column names, and yields what it holds;
networks that nobody can build and files that are missing are left out, and :data:`ODD` says which
rows are left out for what they say.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.layer_stacks import (
    convolutions_3x3,
    convolutions_7x7,
    dense_layers,
    dense_network,
    large_input,
    large_output,
)
from benchmarks.networks import Network, Networks

CsvRow = Mapping[str, str]

PYCORAL, CORAL_TABLE, CORAL_ZOO = "google-coral/pycoral", "coral.ai benchmarks", "coral.ai models"
EDGE_ACC, ALEJANDRODS = "raphischer/edge-acc", "alejandrods/Benchmark-EdgeTPU-HWNAS"
EDGETPU_ANALYSIS = "iwatake2222/EdgeTPU_Analysis"
QUANTRL = "Jorgitou98/EdgeTPU-QuantRL-Evaluation"

ODD: Mapping[tuple[str, str], str] = {
    (CORAL_TABLE, "Inception-ResNet V2"): (
        "57 ms over USB: half of what streaming its 53.7 MiB of weights must cost"
    ),
    (EDGE_ACC, "MobileNetV2"): "as if run at half the clock: twice what others measured",
    (EDGE_ACC, "Laptop"): "the desktop's accelerator again: within 1 to 6 % of its rows",
    (PYCORAL, "rp3b"): "the board of rp3b+ once more: within 2 % of its rows",
    (QUANTRL, "run 2"): "the same stacks timed again, which would count twice",
}
"""What is left out, by source and by what the row says, and why."""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One latency.

    Attributes:
        host: What the chip is plugged to, and whose: rows of a host are fitted together.
        network: What ran.
        latency_ms: Warm, batch 1.
        source: Who published it.
        kind: ``"whole"`` model, ``"stack"`` of layers or ``"transfer"``.
    """

    host: str
    network: Network
    latency_ms: float
    source: str
    kind: str = "whole"


Reader = Callable[[Sequence[CsvRow], Networks], Iterator[PublishedRow]]


def read_rows(folder: Path, networks: Networks) -> list[PublishedRow]:
    """Every row of the folder's files whose network is at hand and that is not odd."""
    found: list[PublishedRow] = []
    for name, reader in READERS.items():
        found += reader(read_csv(folder / name), networks)
    return found


def read_csv(path: Path) -> list[CsvRow]:
    """Rows of a CSV file by column, lines that begin with # left out; none without a file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def _whole(
    networks: Networks, host: str, name: str, latency: str, source: str
) -> Iterator[PublishedRow]:
    network = networks.find(name)
    if network is not None:
        yield PublishedRow(host, network, float(latency), source)


# --- whole models ----------------------------------------------------------------------------


REFERENCE_NETWORKS = {
    "inception_v1_224_quant_edgetpu.tflite": "Inception v1",
    "mobilenet_v1_1.0_224_quant_edgetpu.tflite": "MobileNet v1",
    "ssd_mobilenet_v2_face_quant_postprocess_edgetpu.tflite": "SSD face",
    "efficientnet-edgetpu-S_quant_edgetpu.tflite": "EfficientNet-EdgeTPU-S",
    "tfhub_tf2_resnet_50_imagenet_ptq_edgetpu.tflite": "ResNet50",
}
REFERENCE_HOSTS = {
    "x86_64": ("desktop, USB 3", PYCORAL),
    "aarch64": ("Dev Board", PYCORAL),
    "dev_board": ("Dev Board", ALEJANDRODS),
    "rp4b": ("Raspberry Pi 4, USB 3", PYCORAL),
    "rp3b+": ("Raspberry Pi 3, USB 2", PYCORAL),
}


def reference_latency_by_host(
    rows: Sequence[CsvRow], networks: Networks
) -> Iterator[PublishedRow]:
    """Three networks on five hosts, and four on a Dev Board."""
    for row in rows:
        if row["host"] in REFERENCE_HOSTS and row["tflite"] in REFERENCE_NETWORKS:
            host, source = REFERENCE_HOSTS[row["host"]]
            name = REFERENCE_NETWORKS[row["tflite"]]
            yield from _whole(networks, host, name, row["edgetpu_latency_ms"], source)


TABLE_NETWORKS = {
    "Inception v1": "Inception v1",
    "VGG16": "VGG16",
    "EfficientNet-EdgeTpu-S": "EfficientNet-EdgeTPU-S",
    "MobileNet v1 SSD": "SSD MobileNet v1",
    "MobileNet v2 SSD": "SSD MobileNet v2",
}


def coral_benchmarks(rows: Sequence[CsvRow], networks: Networks) -> Iterator[PublishedRow]:
    """The table of coral.ai, of a desktop and of the Dev Board."""
    hosts = {"desktop_usb3_edgetpu_ms": "desktop, USB 3", "dev_board_edgetpu_ms": "Dev Board"}
    for row in rows:
        if row["model"] in TABLE_NETWORKS:
            for column, host in hosts.items():
                name = TABLE_NETWORKS[row["model"]]
                yield from _whole(networks, host, name, row[column], CORAL_TABLE)


ZOO_NETWORKS = {
    ("Inception V3", "299"): "InceptionV3",
    ("Inception V4", "299"): "Inception v4",
    ("MobileNet V1", "128"): "MobileNet v1 0.25 128",
    ("MoveNet.SinglePose.Lightning", "192"): "MoveNet Lightning",
    ("MobileNet v1 BodyPix", "352"): "BodyPix 352x480",
    ("MobileNet v1 BodyPix", "512"): "BodyPix 512x512",
    ("PoseNet MobileNet V1", "353"): "PoseNet 353x481",
    ("PoseNet MobileNet V1", "481"): "PoseNet 481x641",
    ("PoseNet MobileNet V1", "721"): "PoseNet 721x1281",
}


def coral_models(rows: Sequence[CsvRow], networks: Networks) -> Iterator[PublishedRow]:
    """The model pages of coral.ai."""
    for row in rows:
        name = ZOO_NETWORKS.get((row["model"], row["in_h"]))
        if name is not None:
            yield from _whole(networks, "desktop, USB 3", name, row["latency_ms"], CORAL_ZOO)


KERAS_NETWORKS = ("EfficientNetB0", "ResNet101", "ResNet101V2", "Xception")


def keras_applications(rows: Sequence[CsvRow], networks: Networks) -> Iterator[PublishedRow]:
    """Keras applications over USB 3 and USB 2.

    The desktop of the large networks is a host of its own: they are slower there by more than any
    link can explain. EfficientNetB0 is bound by the processor, and counts with other desktops.
    """
    for row in rows:
        name, host = row["keras_model"], row["host"]
        if name not in KERAS_NETWORKS or host == "Laptop":
            continue
        if host == "RasPi":
            plugged = "Raspberry Pi 3, USB 2"
        else:
            plugged = "desktop, USB 3" if name == "EfficientNetB0" else "edge-acc desktop, USB 3"
        yield from _whole(networks, plugged, name, row["latency_ms"], EDGE_ACC)


# --- layer stacks ----------------------------------------------------------------------------

JETSON_HOSTS = {
    "usb3_10w_ms": "Jetson Nano, USB 3",
    "usb2_10w_ms": "Jetson Nano, USB 2",
}


def layer_stacks_usb(rows: Sequence[CsvRow], _: Networks) -> Iterator[PublishedRow]:
    """Convolutions 7x7x32 and dense layers on a Jetson Nano in its 10 W mode."""
    for row in rows:
        network = usb_stack(row)
        for column, host in JETSON_HOSTS.items():
            yield PublishedRow(host, network, float(row[column]), EDGETPU_ANALYSIS, "stack")


def usb_stack(row: CsvRow) -> Network:
    """The network of a row of ``layer_stacks_usb.csv``."""
    layers = int(float(row["layers"]))
    if row["model"].startswith("conv"):
        return Network(f"conv 7x7x32, {layers} layers", convolutions_7x7(layers))
    units = int(row["model"].split("=")[1])
    return Network(f"dense {units}, {layers} layers", dense_layers(units, layers))


def io_transfer_usb(rows: Sequence[CsvRow], _: Networks) -> Iterator[PublishedRow]:
    """One op behind a large input or before a large output, on the same host."""
    for row in rows:
        height, width, _channels = map(int, row["shape_b"].split("x"))
        if "large input" in row["kind"]:
            network = Network(f"input {height}x{width}x3", large_input(height, width))
        else:
            network = Network(f"output {height}x{width}x3", large_output(height, width))
        for column, host in JETSON_HOSTS.items():
            yield PublishedRow(host, network, float(row[column]), EDGETPU_ANALYSIS, "transfer")


def layer_stacks_pcie(rows: Sequence[CsvRow], _: Networks) -> Iterator[PublishedRow]:
    """Five 3x3 convolutions, or dense layers, by their width, on a PCIe card."""
    for row in rows:
        if "run 2" not in row["model"]:
            latency = float(row["latency_ms"])
            yield PublishedRow("PCIe card", pcie_stack(row), latency, QUANTRL, "stack")


def pcie_stack(row: CsvRow) -> Network:
    """The network of a row of ``layer_stacks_pcie.csv``."""
    width = int(row["width"])
    if row["model"].startswith("conv"):
        return Network(f"conv 3x3, width {width}", convolutions_3x3(width))
    return Network(f"dense, width {width}", dense_network(width))


READERS: Mapping[str, Reader] = {
    "coral_benchmarks.csv": coral_benchmarks,
    "coral_models.csv": coral_models,
    "io_transfer_usb.csv": io_transfer_usb,
    "keras_applications.csv": keras_applications,
    "layer_stacks_pcie.csv": layer_stacks_pcie,
    "layer_stacks_usb.csv": layer_stacks_usb,
    "reference_latency_by_host.csv": reference_latency_by_host,
}
