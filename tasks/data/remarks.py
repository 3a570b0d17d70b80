"""What a person should know of prepared data, in words, from its manifest alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tasks.data.losses import Loss, times

_DIM: Final = 64  # of 255: pictures whose brightest pixel is below are of another range
_SHOWN_NAMES: Final = 5


def tell(stage: str, manifest: Mapping[str, Any]) -> None:
    """Say all of it on the screen when a stage has prepared data, or kept what is prepared."""
    for line in lines(manifest) if stage == "prepare" else ():
        print(f"{stage}: {line}", flush=True)


def lines(manifest: Mapping[str, Any]) -> list[str]:
    """All there is to say, a line each, the weightiest first."""
    return [*warnings(manifest), *_skipped(manifest), *_left_alone(manifest)]


def warnings(manifest: Mapping[str, Any]) -> list[str]:
    """What the networks may suffer from."""
    said = [f"{_loss(one).told()}." for one in manifest.get("lost", ())]
    for split, names in manifest.get("classes_missing", {}).items():
        few = ", ".join(names[:_SHOWN_NAMES])
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        said.append(f"{split} has nothing of {few}{more}.")
    said += [
        f"classes differ in case alone: {', '.join(alike)}."
        for alike in _alike(manifest.get("classes", ()))
    ]
    if "bit_depth" in manifest:
        depth = manifest["bit_depth"]
        said.append(
            f"pictures of 16 bits are taken as {depth} bits, by the greatest value of the set: "
            f"{2**depth - 1:,} is white. Divide alike where the network is used."
        )
    if 0 < manifest.get("brightest", 255) < _DIM:
        said.append(
            f"no pixel of train is brighter than {manifest['brightest']} of 255: look whether the "
            "pictures use another range."
        )
    return said


def _alike(classes: Sequence[str]) -> list[list[str]]:
    """Names that a person may have meant to be one, together."""
    found: dict[str, list[str]] = {}
    for name in classes:
        found.setdefault(name.casefold(), []).append(name)
    return [names for names in found.values() if len(names) > 1]


def _loss(record: Mapping[str, Any]) -> Loss:
    """A loss as it was before JSON."""
    return Loss(**record)


def _skipped(manifest: Mapping[str, Any]) -> list[str]:
    """Each reason, how often, and where first; but what the line of a loss says already."""
    found = manifest.get("skipped", {})
    said = {(one["reason"], one["lost"]) for one in manifest.get("lost", ())}
    reasons = [reason for reason in found if (reason, found[reason]["count"]) not in said]
    ordered = sorted(reasons, key=lambda reason: -found[reason]["count"])
    return [
        f"{times(found[reason]['count'])} {reason}, first {found[reason]['names'][0]}."
        for reason in ordered
    ]


def _left_alone(manifest: Mapping[str, Any]) -> list[str]:
    """What was not looked at, or looked at twice."""
    said = []
    if folders := manifest.get("ignored_folders", ()):
        few = ", ".join(folders[:_SHOWN_NAMES])
        said.append(f"folders left alone, neither split nor class: {len(folders):,} ({few}).")
    if files := manifest.get("ignored_files", 0):
        said.append(f"files left alone that are no pictures: {files:,}.")
    if dropped := manifest.get("duplicates", {}).get("dropped_from_train", 0):
        said.append(f"dropped from train, being in validation or test as well: {dropped:,}.")
    return said
