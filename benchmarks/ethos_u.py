"""The laws of Ethos-U against Arm's compiler, on networks that nothing was fitted to.

    python -m benchmarks.ethos_u --out DIR [--seed 1] [--devices ethos_u55_128 ...]

Draws networks of several spaces at random, exports each with random weights to int8 in the form
that the family's files have (group convolutions split), compiles it with Vela and compares what it
estimates with what the laws say of the exported file. Beside it stands the straight line in MACs,
fitted to these very networks: the laws have no such help.

Exported files stay in ``DIR``, and so do Vela's answers: a second run takes seconds. The first
takes about ten seconds a network on one core. Vela estimates; what a board takes it does not know.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import machine, save
from benchmarks.validation.section import LATENCY, Section, latency_row
from hw.benches.vela import Vela
from hw.calibrating.calibration import fit_macs_line, judge
from hw.calibrating.fitting import Measured
from hw.columns import FloatArray
from hw.device import load_device
from hw.families.ethos_u.parts import parts_of, place
from hw.families.ethos_u.profile import Device
from hw.measuring.bench import BenchSettings
from hw.tflite.reader import read_tflite
from spaces.graph import OpGraph, Shape
from spaces.menu import load_space
from spaces.walk import sample

CLASSES = ("a", "b", "c")
MULTIPLYING = ("Conv2D", "DepthwiseConv2D", "FullyConnected", "TransposeConv2D")
"""Vela's words for ops with weights; of a MEAN, too."""
RANGES = 2
"""Random samples that set the ranges of activations."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Networks of a space.

    Attributes:
        space: Its name.
        problem: Whose head they get.
        shape: Of their input.
        count: How many.
    """

    space: str
    problem: str
    shape: Shape
    count: int


DRAWN = (
    Drawn("mobilenet_edgetpu_v2_small", "classification", (1, 32, 32, 3), 10),
    Drawn("nas_bench_201", "classification", (1, 32, 32, 3), 6),
    Drawn("mobilenet_v2_small", "classification", (1, 32, 32, 3), 5),
    Drawn("mobilenet_v2", "classification", (1, 96, 96, 3), 4),
    Drawn("segmentation_small", "segmentation", (1, 64, 64, 3), 4),
    Drawn("detection_small", "detection", (1, 96, 128, 3), 4),
)
DEVICES = ("ethos_u55_128", "ethos_u85_512", "ethos_u85_512_flash")


def exported(drawn: Drawn, folder: Path, seed: int) -> Iterator[Path]:
    """Files of its networks, made where they are not there yet."""
    space, rng = load_space(drawn.space).for_input(drawn.shape), np.random.default_rng(seed)
    for number in range(drawn.count):
        point = sample(space, rng)
        path = folder / f"{drawn.space}-seed{seed}-{number:02d}.tflite"
        if not path.is_file():
            problem, ranges = _opened(drawn)
            graph = problem.complete(space.lower(point))
            data = _int8(problem, graph, problem.inputs(ranges, graph), number)
            path.write_bytes(data)
        yield path


def _int8(problem: Any, graph: OpGraph, ranges: Mapping[str, Any], seed: int) -> bytes:
    """With random weights; a compiler's estimate depends on them through their compression."""
    import tf_keras

    from spaces.trainable.keras_model import build_model
    from tasks.learning.exported import ends
    from tasks.learning.quantization import (
        Network,
        export_post_training,
        split_grouped_convolutions,
    )

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    names = ends(problem, graph)
    network = Network(build_model(graph, outputs=names), graph, names, problem.deployed)
    return split_grouped_convolutions(export_post_training(network, ranges))


def _opened(drawn: Drawn) -> tuple[Any, Mapping[str, Any]]:
    """The problem on made-up samples, and some of them to observe."""
    from tasks.learning.problem import load_problem
    from tasks.learning.protocols import Setting

    arrays, kind = _arrays(drawn), load_problem(drawn.problem)
    setting = Setting(CLASSES, drawn.shape, kind.options(), lambda: arrays)
    few = {name: array[:RANGES] for name, array in arrays.items()}
    return kind(setting), few


def _arrays(drawn: Drawn, count: int = 12) -> dict[str, Any]:
    """Noise, with labels of each kind; one box a picture."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.6, (count, 1, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.15, 0.4, (count, 1, 2))], axis=-1)
    labels = (np.arange(count) % len(CLASSES)).astype(np.int32)
    height, width = drawn.shape[1:3]
    return {
        "images": rng.integers(0, 256, (count, *drawn.shape[1:]), np.uint8),
        "masks": np.zeros((count, height, width), np.uint8),
        "boxes": boxes.astype(np.float32),
        "labels": labels[:, None] if drawn.problem == "detection" else labels,
        "crowd": np.zeros((count, 1), np.bool_),
        "sizes": np.tile(np.array([height, width], np.int32), (count, 1)),
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What Vela says of a file.

    Attributes:
        latency_ms: Its estimate.
        macs: Its count, of convolutions and dense ops: it has some of poolings, too.
        host_ops: Ops that it left.
    """

    latency_ms: float
    macs: int
    host_ops: int


def answer(path: Path, device: str) -> Answer:
    """Vela's, remembered beside the file."""
    known = path.with_name(f"{path.stem}.{device}.json")
    if not known.is_file():
        compiled = Vela(BenchSettings(device=device)).compile(path)
        left = sum(row.on_host for row in compiled.rows)
        macs = sum(row.macs for row in compiled.rows if row.operator in MULTIPLYING)
        found = {"latency_ms": compiled.latency_ms, "macs": macs, "host_ops": left}
        known.write_text(json.dumps(found), encoding="utf-8")
    return Answer(**json.loads(known.read_text(encoding="utf-8")))


def section(name: str, files: Mapping[str, tuple[Path, ...]]) -> Section:
    """The table of one device: by space, and all together."""
    device = load_device(name)
    assert isinstance(device, Device)
    paths = [path for space in files.values() for path in space]
    spaces = np.array([space for space, found in files.items() for _ in found])
    graphs = [read_tflite(path).graph for path in paths]
    answers = [answer(path, name) for path in paths]
    placed = place(graphs, device, [{}] * len(graphs))[0]
    told = np.array([one.latency_ms for one in answers])
    # Vela tells no time of the host: neither do we here.
    estimated = np.where(placed.here, parts_of(placed, device).latency_ms, 0.0).sum(axis=1)
    fitted = fit_macs_line(Measured(device, placed, told, np.ones(len(told))))
    line: FloatArray = fitted.fixed_ms + fitted.slope_ms_per_gmac * placed.macs / 1e9
    rows = []
    for space in (*files, "all"):
        which = (spaces == space) | (space == "all")
        judged = [[judge(one[which], told[which])] for one in (estimated, line)]
        rows.append(latency_row(space, int(which.sum()), *judged))
    live = placed.batch.live
    off = max(abs(one.macs / graph.macs - 1) for one, graph in zip(answers, graphs, strict=True))
    left, ours = sum(one.host_ops for one in answers), int((live & ~placed.here).sum())
    text = (
        f"{device.summary}. Largest difference of MACs {100 * off:.2f} %; ops on the host {left}, "
        f"by the family's rules {ours}."
    )
    return Section(name, text, LATENCY, tuple(rows))


def main() -> None:
    """Print the table of each device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ethos_u")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--devices", nargs="+", default=list(DEVICES), metavar="DEVICE")
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.out.mkdir(parents=True, exist_ok=True)
    files = {one.space: tuple(exported(one, options.out, options.seed)) for one in DRAWN}
    sections = [section(name, files) for name in options.devices]
    for one in sections:
        print(one.words())
    tables = [one.record() for one in sections]
    save(options.json, {"machine": machine(["ethos-u-vela"]), "sections": tables})


if __name__ == "__main__":
    main()
