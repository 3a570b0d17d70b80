"""``python -m hw inspect``: what a compiled file says of itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hw.text import short, table

if TYPE_CHECKING:
    from hw.families.edge_tpu.compiled_package import CompiledModel
    from hw.families.ethos_u.vela_file import VelaModel

_MOST_NAMED = 5


class Layer(Protocol):
    """What both compilers tell of an input or output."""

    @property
    def name(self) -> str:
        """Of the tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""

    @property
    def data_type(self) -> str:
        """E.g. ``"int8"``."""

    @property
    def size_bytes(self) -> int:
        """As transferred."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``inspect`` to the commands of ``python -m hw``."""
    command = commands.add_parser("inspect", help="what a file made by a compiler holds")
    command.add_argument(
        "model",
        metavar="COMPILED.tflite",
        type=Path,
        help="made by edgetpu_compiler (NAME_edgetpu.tflite) or Vela (NAME_vela.tflite)",
    )
    command.add_argument("--json", action="store_true", help="print it as JSON")


def inspect(options: argparse.Namespace) -> str:
    """Run the command and tell what to print.

    Raises:
        TfliteError: The file is not compiled, or damaged.
    """
    from hw.families.edge_tpu.compiled_package import read_compiled
    from hw.families.ethos_u.vela_file import read_vela

    made = read_vela(options.model)
    if made is not None:
        return json.dumps(vela_record(made), indent=2) if options.json else _vela_text(made)
    model = read_compiled(options.model)
    return json.dumps(record(model), indent=2) if options.json else _text(model)


def record(model: CompiledModel) -> dict[str, object]:
    """What ``--json`` prints. Bytes are sums over the packages, one for each Edge TPU subgraph."""
    return {
        **model.totals(),
        "compiler_cycles": model.compiler_cycles,
        "chip": model.packages[0].main.chip,
        "compiler_version": model.packages[0].compiler_version,
        "inputs": [_layer_record(layer) for layer in model.inputs],
        "outputs": [_layer_record(layer) for layer in model.outputs],
    }


def vela_record(model: VelaModel) -> dict[str, object]:
    """What ``--json`` prints of a file that Vela made."""
    return {
        **model.totals(),
        "accelerator": model.parts[0].accelerator,
        "host_operator_names": list(model.host_operators),
        "inputs": [_layer_record(layer) for layer in model.inputs],
        "outputs": [_layer_record(layer) for layer in model.outputs],
    }


def _layer_record(layer: Layer) -> dict[str, object]:
    return {
        "name": layer.name,
        "shape": layer.shape,
        "data_type": layer.data_type,
        "bytes": layer.size_bytes,
    }


def _text(model: CompiledModel) -> str:
    total, cycles = model.totals(), model.compiler_cycles
    first = model.packages[0]
    rows = [
        ("chip", first.main.chip),
        ("compiler", first.compiler_version),
        ("runtime", f"version {total['min_runtime_version']} or newer"),
        (
            "executables",
            f"{total['executables']} an inference, {total['caching_executables']} once, to load "
            "parameters",
        ),
        ("cached parameters", f"{total['cached_parameter_bytes']:,} B, loaded once"),
        ("streamed parameters", f"{total['streamed_parameter_bytes']:,} B an inference"),
        (
            "instructions",
            f"{total['instruction_bytes']:,} B an inference, "
            f"{total['caching_instruction_bytes']:,} B once",
        ),
        ("narrow memory", f"{total['peak_narrow_memory_bytes_per_tile']:,} B a tile at most"),
        ("scratch", f"{total['scratch_bytes']:,} B on the host"),
        ("compiler's cycles", "not in the file" if cycles is None else f"{cycles:,}"),
        ("host operators", str(total["host_operators"])),
    ]
    layers = _layers("height x width x channels", model.inputs, model.outputs)
    notes = "\n".join(f"- {note}" for note in _notes(model))
    return "\n\n".join([table(rows), layers, notes])


def _vela_text(model: VelaModel) -> str:
    total = model.totals()
    fast = total["peak_fast_scratch_bytes"]
    rows = [
        ("accelerator", model.parts[0].accelerator or "not in the file"),
        ("ethos-u operators", str(total["parts"])),
        ("commands", f"{total['command_bytes']:,} B"),
        ("constants", f"{total['constant_bytes']:,} B, compressed"),
        ("scratch", f"{total['peak_scratch_bytes']:,} B at most"),
        ("fast scratch", f"{fast:,} B at most" if fast else "none: it is the scratch"),
        ("host operators", str(total["host_operators"])),
    ]
    layers = _layers("shape", model.inputs, model.outputs)
    notes = "\n".join(f"- {note}" for note in _vela_notes(model))
    return "\n\n".join([table(rows), layers, notes])


def _vela_notes(model: VelaModel) -> list[str]:
    """What a reader should notice."""
    if not model.host_operators:
        notes = ["0 operators run on the host: the accelerator does all of it."]
    else:
        names = list(dict.fromkeys(model.host_operators))
        named = ", ".join(names[:_MOST_NAMED]) + ", ..." * (len(names) > _MOST_NAMED)
        count = len(model.host_operators)
        run = "operators run" if count > 1 else "operator runs"
        notes = [
            f"{count} {run} on the host ({named}); `measure --bench vela` says why, of the file "
            "before compilation."
        ]
    if len(model.parts) > 1:
        notes.append(
            f"{len(model.parts)} parts run on the accelerator, one after the other, with the host "
            "between them."
        )
    return notes


def _layers(shape: str, inputs: Sequence[Layer], outputs: Sequence[Layer]) -> str:
    rows: list[tuple[str, ...]] = [("layer", shape, "type", "bytes", "name")]
    rows += [_layer_row("input", layer) for layer in inputs]
    rows += [_layer_row("output", layer) for layer in outputs]
    return table(rows)


def _layer_row(role: str, layer: Layer) -> tuple[str, ...]:
    shape = " x ".join(map(str, layer.shape))
    return role, shape, layer.data_type, f"{layer.size_bytes:,}", short(layer.name)


def _notes(model: CompiledModel) -> list[str]:
    """What a reader should notice."""
    total, notes = model.totals(), []
    cached, streamed = total["cached_parameter_bytes"], total["streamed_parameter_bytes"]
    if streamed:
        notes.append(
            f"{streamed:,} B streamed: {100 * streamed / (streamed + cached):.1f} % of the "
            "parameters do not stay on chip and are sent at every inference."
        )
    else:
        notes.append("0 B streamed: all parameters stay on chip.")
    if total["executables"] > 1:
        notes.append(
            f"{total['executables']} subgraphs run on the Edge TPU: activations go back to the "
            "host between them."
        )
    if total["host_operators"]:
        count = total["host_operators"]
        run = "operators run" if count > 1 else "operator runs"
        notes.append(
            f"{count} {run} on the host; `explain` says why, of the file before compilation."
        )
    return notes
