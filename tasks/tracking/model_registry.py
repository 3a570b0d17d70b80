"""Finalists in MLflow's model registry, ready for ``mlflow.pyfunc.load_model``.

A version stands for one ``.tflite`` file: registering the same bytes again gives the same version.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tasks.tracking.tflite_pyfunc import outputs_of, role, served_type
from tasks.tracking.tracking_store import Store, quiet_mlflow

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient
    from mlflow.types import TensorSpec

_SHA256_TAG = "tflite_sha256"


@dataclass(frozen=True, slots=True)
class FinalistModel:
    """A trained and quantised network to be registered.

    Attributes:
        registered_name: name in the registry, see :func:`registered_name`.
        candidate_id: the architecture's id.
        tflite: the model file; its inputs are an image [1, H, W, C], or tokens [1, T] and what
            goes with them, as :func:`tasks.tracking.tflite_pyfunc.role` tells them apart.
        labels: class names in the order of the outputs; may be empty.
        metrics: results by name; unknown ones are ``None``.
        tags: text to filter versions by (space, device, problem, ...).
        outputs: what the file ends in; ``logits`` are served as probabilities, ``raw`` values
            (boxes, masks, spans) as they are.
        pixel_divisor: a pixel 0..255 enters as ``pixel / pixel_divisor - pixel_shift``; the
            defaults are the project's training normalisation ``x / 127.5 - 1``.
        pixel_shift: see ``pixel_divisor``.
    """

    registered_name: str
    candidate_id: str
    tflite: Path
    labels: Sequence[str] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    outputs: Literal["probabilities", "logits", "raw"] = "probabilities"
    pixel_divisor: float = 127.5
    pixel_shift: float = 1.0


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version in the registry.

    Attributes:
        name: registered name.
        version: its number, from 1.
        uri: what ``mlflow.pyfunc.load_model`` takes.
        is_new: whether this call created it.
    """

    name: str
    version: int
    uri: str
    is_new: bool


def registered_name(problem: str, device: str) -> str:
    """Name in the registry of the models of a problem for a device.

    >>> registered_name("classification", "coral_usb3"), registered_name("detection", "tensor_g1")
    ('edgenas-coral_usb3', 'edgenas-detection-tensor_g1')
    """
    return f"edgenas-{device}" if problem == "classification" else f"edgenas-{problem}-{device}"


def register_finalist(store: Store, parent: str, model: FinalistModel) -> RegisteredVersion:
    """Register a finalist below its search, once for each distinct ``.tflite``.

    Args:
        store: where the search is tracked.
        parent: run id of the search; the finalist gets a run of its own below it.
        model: the network and what is known of it.
    """
    quiet_mlflow()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store.uri)
    sha256 = hashlib.sha256(model.tflite.read_bytes()).hexdigest()
    with store.lock():
        known = _find_version(client, model.registered_name, sha256)
        version = known or _create_version(client, store.uri, parent, model, sha256)
    number = int(version.version)
    uri = f"models:/{model.registered_name}/{number}"
    return RegisteredVersion(model.registered_name, number, uri, is_new=known is None)


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version that is in the registry: its model's name, its number, the run that made it."""

    name: str
    version: int
    run: str | None


def find_registered(store: Store, name: str, sha256: str) -> FoundVersion | None:
    """The version of a registered model that holds the ``.tflite`` of a digest; None: none does.

    A server that does not answer as it should has none, either.
    """
    quiet_mlflow()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        found = _find_version(MlflowClient(store.uri), name, sha256)
    except (MlflowException, OSError):
        return None
    return None if found is None else FoundVersion(name, int(found.version), found.run_id)


def _find_version(client: MlflowClient, name: str, sha256: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' AND tags.{_SHA256_TAG} = '{sha256}'")
    return next(iter(found), None)


def _create_version(
    client: MlflowClient, uri: str, parent: str, model: FinalistModel, sha256: str
) -> ModelVersion:
    tags = _tags(model, sha256)
    run_id = _finalist_run(client, parent, model, tags)
    with _as_global_store(uri):
        model_uri, model_id = _log_model(model, run_id, sha256)
        if not client.search_registered_models(f"name = '{model.registered_name}'"):
            client.create_registered_model(model.registered_name)
        return client.create_model_version(
            model.registered_name, model_uri, run_id, tags, model_id=model_id
        )


@contextmanager
def _as_global_store(uri: str) -> Iterator[None]:
    """Make a store MLflow's global one for a while.

    Some calls of the registry take their store from there, whatever the client says. MLflow writes
    the global store into the environment too, where it would pass for the user's own wish later.
    """
    import mlflow

    in_environment = os.environ.get("MLFLOW_TRACKING_URI")
    is_set = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]
    before = mlflow.get_tracking_uri() if is_set else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None unsets it.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if in_environment is not None:
            os.environ["MLFLOW_TRACKING_URI"] = in_environment


def _tags(model: FinalistModel, sha256: str) -> dict[str, str]:
    numbers = {k: f"{v:.6g}" for k, v in model.metrics.items() if v is not None}
    identity = {"candidate_id": model.candidate_id, _SHA256_TAG: sha256}
    return {**numbers, **model.tags, **identity}


def _finalist_run(
    client: MlflowClient, parent: str, model: FinalistModel, tags: Mapping[str, str]
) -> str:
    """A run below the search; ``candidate_id`` stays with the candidate's own run."""
    own = {k: v for k, v in tags.items() if k not in model.metrics and k != "candidate_id"}
    own |= {
        "mlflow.parentRunId": parent,
        "finalist_id": model.candidate_id,
        "stage": "finetune",
    }
    experiment = client.get_run(parent).info.experiment_id
    run = client.create_run(experiment, tags=own, run_name=f"finalist {model.candidate_id}")
    for key, value in model.metrics.items():
        if value is not None and math.isfinite(value):
            client.log_metric(run.info.run_id, key, float(value))
    return str(run.info.run_id)


def _log_model(model: FinalistModel, run_id: str, sha256: str) -> tuple[str, str]:
    """Give the URI and the id of the logged model."""
    import mlflow

    signature, example = _signature(model.tflite)
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        info = mlflow.pyfunc.log_model(
            name=model.candidate_id,
            python_model=str(Path(__file__).with_name("tflite_pyfunc.py")),
            artifacts={"tflite": str(model.tflite)},
            signature=signature,
            input_example=example,
            pip_requirements=[
                f"{name}=={importlib.metadata.version(name)}"
                for name in ("ai-edge-litert", "numpy")
            ],
            model_config={
                "pixel_divisor": model.pixel_divisor,
                "pixel_shift": model.pixel_shift,
                "outputs": model.outputs,
            },
            metadata={"labels": list(model.labels), _SHA256_TAG: sha256},
        )
    return str(info.model_uri), str(info.model_id)


def _signature(tflite: Path) -> tuple[ModelSignature, object]:
    """Tensor signature with a free batch dimension, and an example of its input.

    An image alone and a single output have no name; tokens and several outputs have theirs.
    """
    from ai_edge_litert.interpreter import Interpreter
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    interpreter = Interpreter(model_path=str(tflite))
    shapes = {
        role(one): tuple(int(n) for n in one["shape"][1:])
        for one in interpreter.get_input_details()
    }
    asked = {name: shape for name, shape in shapes.items() if name != "mask"}
    inputs = Schema([_spec(name, shape) for name, shape in asked.items()])
    outputs = Schema(
        [
            _spec(name, tuple(int(n) for n in one["shape"][1:]), served_type(one))
            for name, one in outputs_of(interpreter).items()
        ]
    )
    return ModelSignature(inputs=inputs, outputs=outputs), _example(asked)


def _spec(name: str, shape: tuple[int, ...], kind: type[np.generic] | None = None) -> TensorSpec:
    from mlflow.types import TensorSpec

    if kind is None:
        kind = np.uint8 if name == "image" else np.int32
    return TensorSpec(np.dtype(kind), (-1, *shape), None if name in ("image", "") else name)


def _example(shapes: Mapping[str, tuple[int, ...]]) -> object:
    """Anything serves to show types and shapes: a grey ramp, or one token again and again."""
    if "image" in shapes:
        shape = shapes["image"]
        return np.linspace(0, 255, math.prod(shape)).astype(np.uint8).reshape(1, *shape)
    return {
        name: np.ones((1, *shape), np.int32)
        if name == "tokens"
        else np.zeros((1, *shape), np.int32)
        for name, shape in shapes.items()
    }
