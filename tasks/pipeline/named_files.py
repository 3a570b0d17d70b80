"""Files that parameters name: which stages read them, and what is in them now.

A parameter holds a path, and what lies there can change while the path stays. So its content is
part of the key of each stage that reads it (:mod:`tasks.pipeline.stages`). What ships with the
project, such as the devices that a name stands for, is code and in the keys as such.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.run.params import Params
from tasks.run.workspace import sha256_file, sha256_folder


def content(place: Path) -> object:
    """SHA-256 of a file, or of a folder."""
    return sha256_folder(place) if place.is_dir() else sha256_file(place)


def glance(place: Path) -> object:
    """Name, size and time of change of a file, or of all files below a folder.

    Of a person's own data, which may be too large to be read each time.
    """
    return sorted(_listed(place))


def _listed(place: Path) -> Iterator[tuple[str, int, int]]:
    for path in _below(place) if place.is_dir() else [place]:
        with contextlib.suppress(OSError):  # no file of that name, or gone meanwhile
            found = path.stat()
            yield str(path.relative_to(place)), found.st_size, found.st_mtime_ns


def _below(folder: Path) -> Iterator[Path]:
    """All files below a folder, also through links, which may lead back."""
    seen = set[str]()
    for top, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(top, name) for name in names)


def _source(params: Params) -> Path | None:
    from tasks.data.dataset import Source, place_of

    return place_of(params.data.format, Source(params.data.source))


def _vocabulary(params: Params) -> Path | None:
    given = params.data.vocabulary
    return None if given is None else Path(given).expanduser()


def _start_from(params: Params) -> Path | None:
    from tasks.learning import start_from

    return start_from.find(params.supernet.start_from)


def _teacher(params: Params) -> Path | None:
    from tasks.learning import teacher

    return teacher.own(params.finetune.teacher)


def _profile(device: str) -> Path | None:
    """The file of a device that does not ship with the project."""
    from hw.device import DEVICES, device_file

    path = device_file(device)
    return None if path.parent == DEVICES else path


def _device(params: Params) -> Path | None:
    return _profile(params.cost.device)


def _limiting_device(params: Params) -> Path | None:
    """Which networks a supernet is trained for depends on the device where there are limits."""
    from tasks.candidates.limits import own_limits

    return _device(params) if own_limits(params.cost) else None


def _devices(params: Params, limiting: bool = False) -> dict[str, Path]:
    """Of the further devices; of those that are ``limiting``, where only they are read."""
    found = {
        name: _profile(name)
        for name, one in params.cost.devices
        if not limiting or one.target_latency_ms is not None
    }
    return {name: path for name, path in found.items() if path is not None}


def _limiting_devices(params: Params) -> dict[str, Path]:
    return _devices(params, limiting=True)


def _reported(params: Params) -> dict[str, Path]:
    found = {name: _profile(name) for name in params.report.other_devices}
    return {name: path for name, path in found.items() if path is not None}


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A parameter whose value may name a file or a folder.

    Attributes:
        parameter: As ``block.key``.
        stages: Names of those that read what lies there.
        place: Where that would be; None where the parameter names no file. Of a parameter that
            names several, places by what is below it, as in ``block.key.below``.
        look: What is to be known of it, as JSON can write it.
    """

    parameter: str
    stages: tuple[str, ...]
    place: Callable[[Params], Path | Mapping[str, Path] | None]
    look: Callable[[Path], object] = content

    def found(self, params: Params) -> dict[str, Path]:
        """What is there, by ``block.key``."""
        place = self.place(params)
        if not isinstance(place, Mapping):
            return {self.parameter: place} if place and place.exists() else {}
        return {f"{self.parameter}.{at}": one for at, one in place.items() if one.exists()}


NAMED = (
    NamedFile("data.source", ("prepare",), _source, glance),
    NamedFile("data.vocabulary", ("prepare",), _vocabulary),
    NamedFile("supernet.start_from", ("train_supernet",), _start_from),
    NamedFile("cost.device", ("train_supernet",), _limiting_device),
    NamedFile("cost.device", ("search", "finetune", "select"), _device),
    NamedFile("cost.devices", ("train_supernet",), _limiting_devices),
    NamedFile("cost.devices", ("search", "finetune", "select"), _devices),
    NamedFile("report.other_devices", ("report",), _reported),
    NamedFile("finetune.teacher", ("finetune",), _teacher),
)


def places(stage: str, params: Params) -> dict[str, Path]:
    """Files and folders that parameters name and a stage reads, by ``block.key``.

    What is not there is left out: it is refused elsewhere, or the name of something else.
    """
    found: dict[str, Path] = {}
    for one in NAMED:
        found |= one.found(params) if stage in one.stages else {}
    return found


def contents(stage: str, params: Params) -> dict[str, object]:
    """What is in them now, by ``block.key``; two of these differ if what was read may differ."""
    looked: dict[str, object] = {}
    for one in NAMED:
        if stage in one.stages:
            looked |= {key: one.look(place) for key, place in one.found(params).items()}
    return looked


def all_contents(params: Params) -> dict[str, dict[str, object]]:
    """The same of every stage that reads such files, by its name."""
    readers = dict.fromkeys(stage for one in NAMED for stage in one.stages)
    return {stage: contents(stage, params) for stage in readers}
