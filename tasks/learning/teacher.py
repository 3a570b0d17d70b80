"""A network that finalists learn from beside the labels: a person's own, or the largest of them.

Where there is one, the loss of a finalist is half that of the labels and half its distance from
the teacher's outputs on the very same (augmented) batch, in floating point and with quantization
in the loop alike. Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531 (at temperature 1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spaces.graph import OpGraph
from spaces.sided import checked
from spaces.space import TrainableSpace
from tasks.learning import foreign_network, sentences
from tasks.learning.foreign_network import ForeignNetwork, ForeignNetworkError, Slot
from tasks.learning.interpreter import quantize
from tasks.learning.protocols import Arrays, Outputs, Problem, ProblemError
from tasks.run.params import RuntimeParams
from tasks.run.workspace import read_json, read_npz

SHARE = 0.5
"""Of the loss; the rest is the labels'."""
SETTLED = 64
"""Samples by which it is found out how a person's own network takes pixels."""
LARGEST = "largest"
"""Not a path: of all finalists the one with the most multiply-accumulates, trained first."""

_PIXELS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "-1..1": lambda images: images.astype(np.float32) / np.float32(127.5) - np.float32(1.0),
    "0..1": lambda images: images.astype(np.float32) / np.float32(255.0),
    "0..255": lambda images: images.astype(np.float32),
}
"""How networks take pixels, those of this project first."""


class TeacherError(ValueError):
    """A teacher that cannot teach."""


class Teacher(Protocol):
    """Knows what to put out for a batch."""

    def __call__(self, batch: Arrays, graph: OpGraph) -> Outputs:
        """Like outputs of :attr:`tasks.learning.protocols.Head.trained`, for one who learns."""


def check_file(given: str | None) -> None:
    """Refuse a teacher that is not there, or no network at first sight.

    Raises:
        TeacherError: The message says what was expected.
    """
    path = own(given)
    if path is not None:
        with _named(""):
            foreign_network.check_file(path)


def own(given: str | None) -> Path | None:
    """Where a person's own network lies, if that is the teacher."""
    return None if given is None or given == LARGEST else Path(given).expanduser()


def check(
    path: Path, problem: Problem, arrays: Arrays, graphs: Sequence[OpGraph], every: bool = True
) -> None:
    """Refuse a teacher of another task or of other classes; it is run on ``arrays``.

    Args:
        path: Of a person's own network.
        problem: That it must be of.
        arrays: A few samples.
        graphs: Networks that are to learn from it.
        every: It must fit all of them; else one will do.

    Raises:
        TeacherError: The message says what was expected, and of which shape.
    """
    teacher = OwnTeacher(path, problem)
    for index, graph in enumerate(graphs):
        try:
            teacher(arrays, graph)
        except TeacherError:
            if every or index == len(graphs) - 1:
                raise
        else:
            if not every:
                return


def get_ready(path: Path, runtime: RuntimeParams) -> None:
    """Set TensorFlow up for this process, if the file needs it."""
    if path.suffix != ".tflite":
        from tasks.learning.training import configure_tensorflow

        configure_tensorflow(runtime.threads, runtime.deterministic)


@contextlib.contextmanager
def _named(of: str) -> Any:
    """Errors of files and of outputs, by the name of the parameter."""
    try:
        yield
    except (ForeignNetworkError, ProblemError) as error:
        cure = "Take another network, or null."
        raise TeacherError(f"finetune.teacher{of} {str(error).rstrip('.')}. {cure}") from error


@final
class OwnTeacher:
    """A person's own network.

    Pictures are resized to its size. Whether it takes them as -1..1, 0..1 or 0..255 no file says:
    :meth:`settle` finds out.
    """

    def __init__(self, path: Path, problem: Problem, threads: int = 1) -> None:
        self._problem, self._path = problem, path
        with _named(""):
            self._network: ForeignNetwork = foreign_network.open_network(path, threads)
        self.pixels = next(iter(_PIXELS))

    def __call__(self, batch: Arrays, graph: OpGraph) -> Outputs:
        """See :class:`Teacher`.

        Raises:
            TeacherError: It takes or puts out something else.
        """
        with _named(f" {self._path}"):
            given = self._network(self._inputs(batch))
            return self._problem.taught(self._in_order(given), graph)

    def settle(self, samples: Arrays, graph: OpGraph) -> None:
        """Take pixels in the range in which the labels of ``samples`` surprise it least."""
        if "images" not in samples:
            return
        targets = self._problem.targets(samples, graph)
        losses = {}
        for name in _PIXELS:
            self.pixels = name
            losses[name] = float(self._problem.loss(targets, self(samples, graph), 0.0))
        self.pixels = min(losses, key=lambda name: losses[name])

    def _in_order(self, given: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """By the problem's names where the file has them, as those made here do."""
        for names in (self._problem.trained, self._problem.deployed):
            if set(names) <= set(given):
                return tuple(given[name] for name in names)
        return tuple(given.values())

    def _inputs(self, batch: Arrays) -> dict[str, NDArray[Any]]:
        slots = self._network.slots
        if "images" not in batch:
            return _texts(batch, slots)
        images, channels = batch["images"], batch["images"].shape[-1]
        fits = len(slots) == 1 and len(slots[0].shape) == 4
        if not fits or slots[0].shape[3] not in (channels, 3 if channels == 1 else channels, None):
            raise ForeignNetworkError(
                f"must take pictures [n, height, width, {channels}], but got "
                f"{_shapes(slot.shape for slot in slots)}"
            )
        (slot,) = slots
        return {slot.name: _entered(_resized(images, slot), slot, _PIXELS[self.pixels])}


def _shapes(shapes: Any) -> str:
    return ", ".join(str(list(shape)) for shape in shapes) or "none"


def _resized(images: NDArray[Any], slot: Slot) -> NDArray[Any]:
    """uint8 pictures of the size and the channels of an input; grey ones as three equal ones."""
    if slot.shape[3] == 3 and images.shape[3] == 1:
        images = np.repeat(images, 3, axis=3)
    height, width = (
        own if wanted is None else wanted
        for own, wanted in zip(images.shape[1:3], slot.shape[1:3], strict=True)
    )
    if images.shape[1:3] == (height, width):
        return images
    grey = images.shape[3] == 1
    resized = [
        np.asarray(
            Image.fromarray(one[..., 0] if grey else one).resize(
                (width, height), Image.Resampling.BILINEAR
            )
        )
        for one in images
    ]
    return np.stack(resized).reshape(len(images), height, width, -1)


def _entered(
    images: NDArray[Any], slot: Slot, pixels: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any]:
    """Pictures as an input takes them: integers by its scale, or as they are where it has none."""
    if not slot.quantization[0] and np.issubdtype(slot.dtype, np.integer):
        shift = 128 if slot.dtype == np.int8 else 0
        return (images.astype(np.int32) - shift).astype(slot.dtype)
    return _by_type(pixels(images), slot)


def _by_type(values: NDArray[Any], slot: Slot) -> NDArray[Any]:
    if not slot.quantization[0]:
        return np.ascontiguousarray(values, slot.dtype)
    return quantize(values, {"dtype": slot.dtype, "quantization": slot.quantization})


def _texts(batch: Arrays, slots: Sequence[Slot]) -> dict[str, NDArray[Any]]:
    """Token numbers, cut or padded to the length of an input that is called ``input`` or alone."""
    main = slots[0] if len(slots) == 1 else {one.name: one for one in slots}.get("input")
    if main is None or len(main.shape) != 2:
        raise ForeignNetworkError(
            "must take token numbers [n, length] as its only input, or input, mask and types as "
            f"networks made here, but got {_shapes(slot.shape for slot in slots)}"
        )
    length = main.shape[1] or batch["tokens"].shape[1]
    more = max(0, length - batch["tokens"].shape[1])
    padded = {
        name: np.pad(batch[name], ((0, 0), (0, more)), constant_values=sentences.PADDING)
        for name in ("tokens", "types")
        if name in batch
    }
    fed = sentences.fed(padded, length)
    if len(slots) == 1:
        return {main.name: _by_type(fed["input"], main)}
    missing = {slot.name for slot in slots} - set(fed)
    if missing:
        raise ForeignNetworkError(
            f"must take input, mask and types at most, but got {', '.join(sorted(missing))}"
        )
    return {slot.name: _by_type(fed[slot.name], slot) for slot in slots}


@final
class FinalistTeacher:
    """A finalist that is already trained, in floating point."""

    def __init__(self, folder: Path, problem: Problem, space: TrainableSpace) -> None:
        import tensorflow as tf

        from spaces.trainable.keras_model import build_model, set_weights

        values = {k: v for k, v in read_json(folder / "architecture.json").items() if k != "space"}
        self._problem = problem
        self._graph = problem.complete(space.lower(checked(space, values)))
        model = build_model(self._graph, outputs=problem.trained)
        set_weights(model, read_npz(folder / "weights.npz"))

        def call(*tensors: Any) -> Any:
            return model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)

        self._run = tf.function(call, autograph=False)

    def __call__(self, batch: Arrays, graph: OpGraph) -> Outputs:
        """See :class:`Teacher`."""
        inputs = self._problem.inputs(batch, self._graph)
        found = self._run(*(inputs[name] for name, _ in self._graph.inputs))
        return tuple(
            one.numpy() for one in (found if isinstance(found, list | tuple) else [found])
        )
