"""The model card in words: a ``README.md`` made of ``card.json`` and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_NONE = "not known"
_KINDS = {
    "float": "floating point",
    "ptq": "quantized after training",
    "qat": "quantization-aware",
    "int8": "shipped",
}


def readme(card: Mapping[str, Any]) -> str:
    """Markdown."""
    parts = [
        f"# {card['name']}: {card['problem'].replace('_', ' ')}",
        _summary(card),
        "## Run it\n\n```sh\npip install ai-edge-litert numpy pillow\n"
        f"python run.py {card['reading']['example']}\n```\n\n"
        "`run.py` needs nothing else, and none of the project that made the file. `Example.kt` is "
        "the same for Android; it was not compiled here.",
        "## Inputs and outputs\n\n" + _tensors(card),
        "## Data\n\n" + _data(card["data"]),
        "## How good it is\n\n" + _metrics(card["metrics"]),
        "## How long it takes\n\n" + _latency(card["latency"]),
        "## Whether benches say the same\n\n" + _parity(card["parity"]),
        *_frigate(card["frigate"]),
        "## Licence\n\n" + _licence(card["licence"]),
        "## How it was made\n\n" + _made(card),
        "## Files\n\n"
        + _table(
            ("file", "bytes", "SHA-256"),
            ((f"`{n}`", f"{f['bytes']:,}", f"`{f['sha256']}`") for n, f in card["files"].items()),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(card: Mapping[str, Any]) -> str:
    metrics, cost = card["metrics"], card["latency"]["predicted"]
    split = metrics["split"]
    value = metrics["splits"][split]["files"]["int8"][metrics["metric"]]
    said = (
        f"{_share(value)} {metrics['label']} in int8 on the {split} split; "
        f"{_number(cost['latency_ms'])} ms on {card['latency']['device']}, estimated, not "
        "measured."
    )
    notes = [f"- {note}" for note in card["notes"]]
    return "\n".join([said, "", *notes]) if notes else said


def _tensors(card: Mapping[str, Any]) -> str:
    rows = [
        (
            side,
            f"`{one['name']}`",
            "x".join(map(str, one["shape"])),
            one["type"],
            "as it is" if one["scale"] is None else f"{one['scale']:.9g}, {one['zero_point']}",
            one["meaning"],
        )
        for side in ("inputs", "outputs")
        for one in card[side]
    ]
    return _table(("", "name", "shape", "type", "scale, zero point", "meaning"), rows)


def _data(data: Mapping[str, Any]) -> str:
    made_up = " They are made up: the numbers say that the pipeline works, no more."
    lines = [
        f"{data['source'] or _NONE} ({data['format'] or _NONE}), {len(data['classes'])} classes."
        + made_up * data["synthetic"],
        _table(
            ("split", "items", "how it came about"),
            (
                (name, f"{split['items']:,}" if split["items"] else _NONE, _carved(split))
                for name, split in data["splits"].items()
            ),
        ),
    ]
    if data["skipped"]:
        lines.append(
            _table(
                ("skipped, cut or changed", "how often"),
                ((w, str(n)) for w, n in data["skipped"].items()),
            )
        )
    return "\n\n".join(lines)


def _carved(split: Mapping[str, Any]) -> str:
    return {True: "carved out of train", False: "as given", None: _NONE}[split["carved"]]


def _metrics(metrics: Mapping[str, Any]) -> str:
    names = dict.fromkeys(
        name
        for split in metrics["splits"].values()
        for of in split["files"].values()
        for name in of
    )
    rows = [
        (
            f"{split}, {told['items']:,}",
            f"`{kind}`: {_KINDS[kind]}",
            *(_share(of.get(n)) for n in names),
        )
        for split, told in metrics["splits"].items()
        for kind, of in told["files"].items()
    ]
    return _table(("split, items", "file", *names), rows) + (
        "\n\nIn brackets 95 % intervals: Wilson's of shares of samples, by bootstrap over samples "
        "of the shipped file's other metrics; where there is none, it is not known,"
        " as of metrics that take long."
    )


def _share(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return ""
    said = f"{100 * value['value']:.1f} %"
    if value["interval"] is None:
        return said
    low, high = value["interval"]
    return f"{said} ({100 * low:.1f} to {100 * high:.1f})"


def _latency(latency: Mapping[str, Any]) -> str:
    rows = [("predicted", *_cost(latency["predicted"]))]
    for how in ("compiled", "measured"):
        for one in latency[how]:
            if one["cost"] is None:
                rows.append((f"{how}, {one['bench']}", "", "", "", one["reason"]))
            else:
                # A simulator runs a file and times nothing: what it did was to compile.
                did = one["cost"]["method"]
                rows.append((f"{did}, {one['bench']}", *_cost(one["cost"])))
        if not latency[how]:
            rows.append((how, "", "", "", "no such bench at hand"))
    return _table(("how", "on", "ms", "interval", "host ops, or why it is not known"), rows)


def _cost(cost: Mapping[str, Any]) -> tuple[str, str, str, str]:
    interval = cost["latency_interval_ms"]
    between = "none" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
    if cost["out_of_range"]:
        between += ", a guess: out of the calibrated range"
    return cost["on"], _number(cost["latency_ms"]), between, str(len(cost["host_ops"]))


def _number(value: float | None) -> str:
    return "not told" if value is None else f"{value:.3f}"


def _parity(rows: Iterable[Mapping[str, Any]]) -> str:
    told = [
        (one["bench"], str(one["samples"]), "", "", "", "", one["reason"])
        if one["reason"]
        else (
            one["bench"],
            str(one["samples"]),
            _by_name(one["largest"]),
            _by_name(one["mean"]),
            _by_name(one["steps"]),
            "" if one["equal_labels"] is None else f"{100 * one['equal_labels']:.2f} %",
            f"{100 * one['metric']:.2f} %, {100 * one['reference']:.2f} %",
        )
        for one in rows
    ]
    if not told:
        return "No bench that runs the file was at hand."
    heads = ("bench", "samples", "largest difference", "mean", "largest in steps", "equal labels")
    return (
        "Outputs beside those of LiteRT's own kernels, without any delegate, on samples of the "
        "split that metrics are of.\n\n" + _table((*heads, "metric of both"), told)
    )


def _by_name(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def _frigate(frigate: Mapping[str, Any] | None) -> list[str]:
    if frigate is None:
        return []
    return ["## Frigate\n\n" + frigate["told"]]


def _licence(licence: Mapping[str, Any]) -> str:
    return _table(("of", "is"), ((name, value or "not stated") for name, value in licence.items()))


def _made(card: Mapping[str, Any]) -> str:
    made, again = card["made"], card["reproduce"]
    code = made["code"]
    lines = [
        f"By edgenas {made['version'] or _NONE}, commit {code['commit'] or _NONE}"
        + (" with changes" if code["changed"] else "")
        + f"; code digest `{made['code_sha256']}`.",
        f"Parameters are in `card.json`. {_held(made['parameters_hold'])}",
        "```sh\n" + "\n".join(again["commands"]) + "\n```",
    ]
    dvc, mlflow = again["dvc"], again["mlflow"]
    lines.append(
        f"DVC: `{dvc['path']}` of `{dvc['lock']}`, stage {dvc['stage']}, md5 `{dvc['md5']}`"
        + {True: ".", False: "; it is of another run.", None: "; not checked."}[dvc["same"]]
        if dvc
        else "DVC: not recorded."
    )
    lines.append(
        f"MLflow: `{mlflow['uri']}`, run `{mlflow['run']}`."
        if mlflow
        else "MLflow: not registered."
    )
    return "\n\n".join(lines)


def _held(holds: bool) -> str:
    return (
        "Code, parameters and data are still those that made the file."
        if holds
        else "Code, parameters or data have changed since the file was made: the parameters are "
        "those of now."
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = [_cell(head) for head in heads]
    lines = [top, ["---"] * len(top), *([_cell(one) for one in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
