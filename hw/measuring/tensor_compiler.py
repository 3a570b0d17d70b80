"""Compiles a ``.tflite`` for Google Tensor with LiteRT, in a process of its own: it may crash.

``python -m hw.measuring.tensor_compiler ORDER`` is that process. Its answer is a file, as LiteRT
writes to standard output what it likes.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.measuring.bench import BenchError
from hw.measuring.child import Finished, run_child
from hw.measuring.stopwatch import ROOT, one_line

MODULE = "hw.measuring.tensor_compiler"
AOT = "ai_edge_litert.aot.aot_compile"
VENDOR = "ai_edge_litert.aot.vendors.google_tensor"
ANSWER = "answer.json"
SMALL_CHIPS = ("Tensor_G3", "Tensor_G4")
FOR_SMALL_CHIPS = {
    "google_tensor_truncation_type": "half",
    "google_tensor_sharding_intensity": "maximum",
}
"""With these, networks compile on the older chips that are too large for them otherwise."""
TOO_LARGE = "INTERNAL"
"""How the compiler calls it, and much else."""
NO_OP = "no op of it that the compiler takes"
UNLOADED = "Failed to load"
CURES = {
    TOO_LARGE: "Make its largest activations smaller, or name a newer chip.",
    NO_OP: "Convert it to builtin ops, with full integer quantization (int8).",
    UNLOADED: "Install Google's compiler library anew; it is for Linux on x86-64.",
}
OTHER_CURE = "Try another version of ai-edge-litert and of the compiler library."
LAST_WORDS = 300
"""Characters of a reason that a message repeats."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the process is to do.

    Attributes:
        tflite: Absolute path.
        chip: As LiteRT names it, e.g. ``"Tensor_G5"``.
        folder: For all that is written, the answer among it.
    """

    tflite: str
    chip: str
    folder: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler made, by its own count.

    Attributes:
        path: The compiled file.
        mapped: Ops that run on the chip.
        ops: Ops in all.
        partitions: Parts that the mapped ones are in.
        forced: It took the options for small chips.
    """

    path: Path
    mapped: int
    ops: int
    partitions: int
    forced: bool


def compiled(tflite: Path, chip: str, folder: Path, timeout_s: float) -> Compiled:
    """Compile a file; ``NAME_Google_CHIP.tflite`` in ``folder`` is whole, or not there.

    Raises:
        BenchError: It does not compile, crashes, or takes longer than ``timeout_s``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        order = json.dumps(dataclasses.asdict(Order(str(tflite.absolute()), chip, scratch)))
        done = run_child([sys.executable, "-m", MODULE, order], ROOT, timeout_s)
        if done.status is None:
            raise BenchError(
                f"{tflite}: must compile within {timeout_s:g} s, but got no end. Allow more time, "
                "or make its largest activations smaller."
            )
        answer = _answer(Path(scratch), done)
        if "error" in answer:
            why = answer["error"]
            cure = next((cure for words, cure in CURES.items() if words in why), OTHER_CURE)
            raise BenchError(f"{tflite}: must compile for {chip}, but got: {why}. {cure}")
        # Moved out when it is known to be whole: a failure leaves an empty file behind.
        path = folder / f"{tflite.stem}_Google_{chip}.tflite"
        shutil.move(answer.pop("path"), path)
        return Compiled(path, **answer)


def _answer(folder: Path, done: Finished) -> dict[str, Any]:
    """What the process answered; where it did not, its last word and its end are the error."""
    try:
        answer: dict[str, Any] = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        told = [line for line in done.errors.splitlines() if line.strip()] or ["nothing"]
        answer = {"error": f"{one_line(told[-1])[-LAST_WORDS:]} ({done.ending})"}
    return answer


def reason(log: str) -> str:
    r"""Why it failed, of all that the compiler wrote, which must be something.

    >>> reason("ERROR: [a.cc:1] Failed: INTERNAL: no room.\nERROR: [b.cc:2] ERROR: [c.cc:3]\n")
    'Failed: INTERNAL: no room'
    """
    selected = re.findall(r"Partitioned subgraph<\d+>, selected (\d+) ops", log)
    if selected and not any(int(count) for count in selected):
        return NO_OP  # what follows is an error about something that was never made
    lines = [line for line in log.splitlines() if line.strip()]
    # An error that is handed on has the place of each hand in front of it, and often no words.
    errors = [re.sub(r"ERROR: (\[[^]]*\])?", "", one) for one in lines if one.startswith("ERROR:")]
    told = [line for line in errors if line.strip()]
    if told:
        return one_line(told[-1])[:LAST_WORDS]
    # A native crash says nothing; what was done last tells where.
    last = re.sub(r"^[A-Z]+: (\[[^]]*\])?", "", lines[-1])
    return f"an end without a reason, after {one_line(last)[:LAST_WORDS]}"


def main(argument: str) -> int:
    """Answer one order in a file."""
    order = Order(**json.loads(argument))
    answer = _attempt(order, "first", {})
    if order.chip in SMALL_CHIPS and TOO_LARGE in answer.get("error", ""):
        answer = _attempt(order, "second", FOR_SMALL_CHIPS)
    Path(order.folder, ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _attempt(order: Order, name: str, options: dict[str, str]) -> dict[str, Any]:
    """Compile with some options, all files of it in a folder of their own."""
    folder = Path(order.folder, name)
    folder.mkdir()
    # The reason of a failure is left in the temporary folder, where others may lie.
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    # LiteRT knows a vendor once the module is imported that registers it.
    importlib.import_module(f"{VENDOR}.google_tensor_backend")
    target = importlib.import_module(f"{VENDOR}.target")
    compile_ahead = importlib.import_module(AOT).aot_compile
    try:
        result = compile_ahead(
            order.tflite,
            output_dir=str(folder / "out"),
            target=target.Target(target.SocModel(order.chip)),
            keep_going=False,
            **options,
        )
    except (ValueError, OSError) as error:
        logs = [path.read_text("utf-8", "replace") for path in folder.glob("*.error")]
        log = "\n".join(logs)
        return {"error": reason(log) if log.strip() else one_line(str(error))[:LAST_WORDS]}
    (model,) = result.models
    if not model.path.is_file() or not model.path.stat().st_size:
        return {"error": "an empty file"}
    stats = model.partition_stats.subgraph_stats
    return {
        "path": str(model.path),
        "mapped": sum(one.num_ops_offloaded for one in stats),
        "ops": sum(one.num_total_ops for one in stats),
        "partitions": sum(one.num_partitions_offloaded for one in stats),
        "forced": bool(options),
    }


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
