"""Puts a finalist into a folder that one ships: its file, an example, a model card."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw.device import load_device
from hw.measuring.bench import BenchError, BenchSettings, bench_names, load_bench
from hw.protocols import Bench, CompilingBench
from hw.report import CostReport
from hw.tflite.metadata import described
from hw.tflite.model import TfliteError
from tasks.candidates.finalist import Finalist as Scored
from tasks.data.arrays import load_split
from tasks.estimate_cost import estimate_file
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.interpreter import predict_batches
from tasks.learning.parity import compared, running_benches
from tasks.pipeline.stages import MODULES, StageError, code_digest, still_holds
from tasks.run.params import Params
from tasks.run.progress import Progress
from tasks.run.workspace import (
    Workspace,
    explain_full_disk,
    read_json,
    read_npz,
    sha256_file,
    write_bytes,
    write_json,
)
from tasks.shipping import card, coordinates, descriptions, frigate
from tasks.shipping.finalist import BundleError, Finalist, opened, reading_of
from tasks.shipping.intervals import bootstrap
from tasks.shipping.readme import readme
from tasks.shipping.written import example, for_android

_STEPS = 5


def run(
    finalist: str,
    out: Path,
    params: Params,
    profile: str | None,
    workspace: Workspace,
    licence: card.Licence,
    root: Path,
    progress: Progress,
) -> Path:
    """Write ``out``, all of it or nothing.

    Args:
        finalist: Its id, the beginning of it, its name, or ``best``.
        out: A folder that is not there yet.
        params: Of the run that made it.
        profile: Of the run; None: the default.
        workspace: Of the run.
        licence: What its person says of it.
        root: The checkout.
        progress: Told how far it is.

    Raises:
        BundleError: There is no such finalist, or ``out`` is there or cannot be made.
    """
    if out.exists() or out.is_symlink():
        raise BundleError(f"{out} must not exist yet, but it does. Remove it, or name another.")
    one = opened(finalist, params, profile, workspace)
    fresh = _made_beside(out)
    progress.start("bundle", _STEPS)
    with explain_full_disk(out):
        try:
            _fill(fresh, one, licence, root, progress)
            fresh.chmod(0o755)  # mkdtemp makes it private
            os.replace(fresh, out)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    progress.finish()
    return out


def _made_beside(out: Path) -> Path:
    """An empty folder that becomes ``out``.

    Raises:
        BundleError: There can be none.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise BundleError(
            f"{out} must be a folder that can be made, but got: {error.strerror}. Name another."
        ) from None


def _fill(out: Path, one: Finalist, licence: card.Licence, root: Path, progress: Progress) -> None:
    """Write the files of a bundle."""
    vocabulary = one.workspace.data / "vocabulary.txt"
    decoding = one.folder / "decoding.npz"
    arrays = read_npz(decoding) if decoding.is_file() else {}
    files = descriptions.beside(
        one.problem.setting.classes,
        arrays,
        vocabulary.read_bytes() if vocabulary.is_file() else None,
    )
    reading = reading_of(one)
    for name, content in files.items():
        write_bytes(out / name, content)
    metadata = descriptions.metadata(
        one.signature,
        files,
        name=one.id,
        description=f"{one.problem.name} of {one.manifest.told.get('source')}, by edgenas",
        version=sha256_file(one.file)[:12],
        author=licence.author or "",
        licence=licence.model or "",
    )
    write_bytes(out / "int8.tflite", described(one.file.read_bytes(), metadata, files))
    compiled = _compiled(one.file, out, one.params.cost.device)
    progress.advance(1, "compiled")
    told = _frigate(out, one, arrays, reading) if one.problem.name == "detection" else None
    write_bytes(out / "run.py", example(one.problem.name).encode())
    write_bytes(out / "Example.kt", for_android(one.signature, reading).encode())
    write_bytes(out / "card.schema.json", card.schema())
    made = _card(one, licence, root, reading, told, compiled, progress)
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    made["files"] = {
        path.relative_to(out).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256_file(path),
        }
        for path in paths
    }
    write_json(out / "card.json", made)
    write_bytes(out / "README.md", readme(made).encode())


def _compiled(file: Path, out: Path, device: str) -> dict[str, CostReport | str]:
    """What compilers for a device make of a file; what they write goes to ``out``."""
    settings = BenchSettings(device=device)
    found: dict[str, CostReport | str] = {}
    for name in bench_names():
        bench = load_bench(name, settings)
        if not isinstance(bench, CompilingBench) or not bench.fits(load_device(device)):
            continue
        found[name] = _measured(bench, file)
        if not isinstance(found[name], str):
            with tempfile.TemporaryDirectory() as folder:
                written = bench.written(file, Path(folder))
                write_bytes(out / written.name, written.read_bytes())
    return found


def _measured(bench: Bench, file: Path) -> CostReport | str:
    """A bench's report, or why there is none."""
    missing = bench.missing()
    if missing is not None:
        return f"{missing}, but got none."
    try:
        return bench.measure(file)
    except (BenchError, TfliteError) as error:
        return str(error).replace(str(file), file.name)


def _frigate(
    out: Path, one: Finalist, arrays: Mapping[str, Any], reading: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the folder that Frigate reads, and tell of it; where it cannot, why."""
    classes = one.problem.setting.classes
    if reading["channels"] != 3:
        why = (
            "Frigate feeds pictures in colour, and this network takes grey ones: there is no file "
            "for it. Prepare the data with data.channels: 3."
        )
        return {"file": None, "told": why}
    folder = out / frigate.FOLDER
    most = min(frigate.MOST, int(reading["detections"]))
    content = frigate.as_frigate_reads(
        one.file.read_bytes(), one.signature, arrays["anchors"], len(classes), most
    )
    write_bytes(folder / "model.tflite", content)
    write_bytes(folder / "labelmap.txt", frigate.labels(classes))
    coral = load_device(one.params.cost.device).family == frigate.FAMILY
    compiled = _compiled(folder / "model.tflite", folder, one.params.cost.device) if coral else {}
    runs = next((path.name for path in folder.glob("*_edgetpu.tflite")), None)
    text = frigate.settings(runs or "model.tflite", reading, classes, runs is not None)
    write_bytes(folder / "config.yml", text.encode())
    notes = [
        "`frigate/` holds this network in the form that Frigate reads: bytes of pixels in, and "
        "TFLite_Detection_PostProcess behind it. Boxes are ymin, xmin, ymax, xmax as fractions, "
        f"at most {most} of them. int8.tflite is not of that form. Copy the folder to "
        "`/config/edgenas`, and merge `config.yml` into Frigate's. Pixels enter without rounding, "
        "so scores may differ by steps of quantization from those of run.py. It was run in "
        "LiteRT, not in Frigate.",
        *(f"{name}: {found}" for name, found in compiled.items() if isinstance(found, str)),
    ]
    if runs is None:
        notes.append("It is not compiled for an Edge TPU: as it is, Frigate runs it on its CPU.")
    return {"file": f"{frigate.FOLDER}/{runs or 'model.tflite'}", "told": " ".join(notes)}


def _card(
    one: Finalist,
    licence: card.Licence,
    root: Path,
    reading: dict[str, Any],
    told: dict[str, Any] | None,
    compiled: dict[str, CostReport | str],
    progress: Progress,
) -> dict[str, Any]:
    """All of the card but the list of files."""
    params, workspace = one.params, one.workspace
    arrays = load_split(workspace, one.split)
    scores = _scores(one, arrays)
    progress.advance(2, "intervals")
    benches = running_benches()
    measured = {name: _measured(bench, one.file) for name, bench in benches.items()}
    progress.advance(3, "measured")
    parity = compared(one.problem, one.file, arrays, one.graph, benches)
    progress.advance(4, "parity")
    device, sha256 = Path(params.cost.device).stem, sha256_file(one.file)
    predicted = estimate_file(one.file, params.cost, one.graph, one.problem.deployed)
    record = Scored.read(one.folder, one.problem.metric.name)
    return {
        "schema": card.SCHEMA,
        "id": one.id,
        "name": record.name or one.id,
        "problem": one.problem.name,
        "notes": _notes(one, reading),
        **descriptions.tensors(one.signature),
        "reading": reading,
        "data": card.data_of(one.manifest.told),
        "metrics": scores.told(),
        "latency": card.latency_of(device, predicted, compiled, measured),
        "parity": card.parity_of(parity),
        "frigate": told,
        "licence": dataclasses.asdict(licence),
        "made": {
            "version": _version(root),
            "code": coordinates.of_code(root),
            "code_sha256": code_digest(*MODULES),
            "parameters": params.model_dump(mode="json"),
            "parameters_hold": _holds(params, workspace),
            "architecture": read_json(one.folder / "architecture.json"),
            "quantized_by": record.quantized_by,
            "versions": card.versions(),
        },
        "reproduce": {
            "commands": _commands(one.profile),
            "dvc": coordinates.of_dvc(root, one.profile, one.id, one.file),
            "mlflow": coordinates.of_mlflow(root, one.problem.name, device, sha256),
        },
        "source_sha256": sha256,
    }


def _version(root: Path) -> str | None:
    """Of the project; None outside of a checkout."""
    path = root / "pyproject.toml"
    return tomllib.loads(path.read_text("utf-8"))["project"]["version"] if path.is_file() else None


def _holds(params: Params, workspace: Workspace) -> bool:
    """Whether the finalists are what they would be now."""
    try:
        return still_holds("finetune", params, workspace)
    except StageError:
        return False


def _scores(one: Finalist, arrays: Mapping[str, Any]) -> card.Scores:
    """Of validation by the stage that trained it, of the report's split by the report."""
    metric = one.problem.metric
    record = Scored.read(one.folder, metric.name)
    inputs = inputs_in_batches(one.problem, arrays, one.graph)
    outputs = predict_batches(one.file, inputs, one.problem.deployed)
    names = tuple(one.problem.score(outputs, arrays, one.graph))
    by_split = {
        "validation": {
            kind: {name: record.scores[kind][name] for name in names} for kind in card.KINDS
        }
    }
    path = one.workspace.report / "metrics.json"
    tested = read_json(path) if path.is_file() else {"split": None, "finalists": []}
    for entry in tested["finalists"]:
        if entry["id"] == one.id and tested["split"] == "test":
            kinds = (kind for kind in card.KINDS if kind in entry)
            by_split["test"] = {
                kind: {metric.name: entry[kind], **entry["more"][kind]} for kind in kinds
            }
            by_split["test"][str(record.quantized_by)] = by_split["test"]["int8"]  # the same file
    split = one.split if one.split in by_split else "validation"
    counts = {name: len(next(iter(load_split(one.workspace, name).values()))) for name in by_split}
    drawn = bootstrap(one.problem, outputs, arrays, one.graph) if split == one.split else {}
    return card.Scores(metric.name, metric.label, counts, by_split, drawn, split)


def _commands(profile: str | None) -> list[str]:
    if profile is None:
        return ["make search", "python -m flows bundle best --out bundle/"]
    return [
        f"make search PROFILE={profile}",
        f"python -m flows bundle best --profile {profile} --out bundle/",
    ]


def _notes(one: Finalist, reading: Mapping[str, Any]) -> list[str]:
    """What a reader should know before all else."""
    notes = []
    if one.split != "test":
        notes.append(
            "There is no test split: the model was chosen by the split that it is scored on."
        )
    if one.manifest.told.get("synthetic"):
        notes.append("The data are made up.")
    if reading.get("bit_depth", 8) > 8:
        notes.append(
            f"Pictures had {reading['bit_depth']} bits a channel: resize them so, then multiply "
            f"by 255 / {2 ** reading['bit_depth'] - 1} and round. run.py takes 8 bits only."
        )
    return notes
