"""Finalists as models of MLflow: what they answer, and what they are called."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.tracking.tflite_pyfunc import role
from tasks.tracking.tracker import (
    FinalistModel,
    Store,
    Tracker,
    experiment_name,
    register_finalist,
    registered_name,
)
from tests.tasks.tracking.conftest import start

# MLflow and its dependencies deprecate things of each other; no matter of ours.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="session")
def tiny_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full-integer classifier of 8x8x3 images into 4 classes, untrained."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(3)
    model = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((8, 8, 3), batch_size=1),
            tf_keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(4, activation="softmax"),
        ]
    )
    generator = np.random.default_rng(5)
    pictures = generator.uniform(-1, 1, (16, 1, 8, 8, 3)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture] for picture in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    path = tmp_path_factory.mktemp("tflite") / "int8.tflite"
    path.write_bytes(converter.convert())
    return path


def _direct(tflite: Path, images: np.ndarray) -> np.ndarray:
    """The reference: quantise, run, dequantise, by TensorFlow Lite's own scales."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(tflite))
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for image in images:
        scale, zero = source["quantization"]
        values = np.round((image / np.float32(127.5) - 1) / scale) + zero
        interpreter.set_tensor(source["index"], np.clip(values, -128, 127).astype(np.int8)[None])
        interpreter.invoke()
        scale, zero = sink["quantization"]
        rows.append((interpreter.get_tensor(sink["index"])[0].astype(np.float32) - zero) * scale)
    return np.array(rows, np.float32)


def test_a_registered_finalist_predicts_as_the_interpreter_does(
    store: Store,
    client: Any,
    tiny_tflite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    parent = start(Tracker(store, "search"))
    model = FinalistModel(
        "edgenas-test",
        "0123456789ab",
        tiny_tflite,
        labels=("a", "b", "c", "d"),
        metrics={"top1": 0.75, "energy_mj": None},
        tags={"device": "coral_usb3"},
    )
    first = register_finalist(store, parent, model)
    assert (first.version, first.is_new, first.uri) == (1, True, "models:/edgenas-test/1")
    again = register_finalist(store, parent, model)
    assert (again.version, again.is_new) == (1, False)
    other = tmp_path / "other.tflite"
    other.write_bytes(tiny_tflite.read_bytes() + b"\0")
    logits = dataclasses.replace(model, tflite=other, outputs="logits")
    assert register_finalist(store, parent, logits).version == 2

    version = client.get_model_version("edgenas-test", "1")
    assert version.tags["candidate_id"] == "0123456789ab"
    assert version.tags["top1"] == "0.75"
    assert client.get_run(version.run_id).data.metrics == {"top1": 0.75}
    assert client.get_run(version.run_id).info.status == "FINISHED"

    assert not mlflow.is_tracking_uri_set()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    loaded = mlflow.pyfunc.load_model(first.uri)
    images = np.random.default_rng(7).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    answers = loaded.predict(images)
    assert answers.dtype == np.float32
    np.testing.assert_array_equal(answers, _direct(tiny_tflite, images))
    scores = np.exp(_direct(tiny_tflite, images))
    np.testing.assert_allclose(
        mlflow.pyfunc.load_model("models:/edgenas-test/2").predict(images),
        scores / scores.sum(axis=1, keepdims=True),
        rtol=1e-6,
    )
    with pytest.raises(mlflow.exceptions.MlflowException, match="schema"):
        loaded.predict(images.astype(np.float32))
    signature = loaded.metadata.signature
    assert signature.inputs.inputs[0].shape == (-1, 8, 8, 3)
    assert loaded.metadata.metadata["labels"] == ["a", "b", "c", "d"]


def _language_tflite() -> bytes:
    """Integer inside: tokens, types and mask in; spans (floats) and class numbers out."""
    import tensorflow as tf

    table = tf.random.stateless_normal((20, 4), (1, 2))

    class Network(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec((1, 6), tf.int32, name="input"),
                tf.TensorSpec((1, 1, 1, 6), tf.float32, name="mask"),
                tf.TensorSpec((1, 6), tf.int32, name="types"),
            ]
        )
        def run(self, tokens: Any, mask: Any, types: Any) -> Any:
            features = tf.gather(table, tokens) + tf.cast(types, tf.float32)[..., None]
            spans = tf.reduce_sum(features, -1) + mask[:, 0, 0]
            return {"spans": spans, "kinds": tf.argmax(features, -1, tf.int32)}

    network = Network()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [network.run.get_concrete_function()], network
    )
    return bytes(converter.convert())


def test_tokens_enter_by_name_and_several_outputs_leave_by_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    path = tmp_path / "language.tflite"
    path.write_bytes(_language_tflite())
    parent = start(Tracker(store, "search"))
    model = FinalistModel("edgenas-language", "0123456789ab", path, outputs="raw")
    uri = register_finalist(store, parent, model).uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    loaded = mlflow.pyfunc.load_model(uri)
    signature = loaded.metadata.signature
    assert {spec.name: spec.shape for spec in signature.inputs} == {
        "tokens": (-1, 6),
        "types": (-1, 6),
    }
    assert {spec.name: (spec.type, spec.shape) for spec in signature.outputs} == {
        "spans": (np.dtype(np.float32), (-1, 6)),
        "kinds": (np.dtype(np.int32), (-1, 6)),
    }
    tokens = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9]], np.int32)
    types = np.zeros_like(tokens)
    answers = loaded.predict({"tokens": tokens, "types": types})
    assert (answers["spans"][0, 3:] < -8).all()  # padding is masked
    assert (np.abs(answers["spans"][1]) < 8).all()
    shifted = loaded.predict({"tokens": tokens, "types": types + 1})
    np.testing.assert_allclose(shifted["spans"], answers["spans"] + 4, atol=1e-4)
    np.testing.assert_array_equal(shifted["kinds"], answers["kinds"])
    with pytest.raises(mlflow.exceptions.MlflowException, match="types"):
        loaded.predict({"tokens": tokens})


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("serving_default_input:0", (1, 32, 32, 3), "image"),
        ("input", (1, 64), "tokens"),
        ("serving_default_types:0", (1, 64), "types"),
        ("serving_default_mask:0", (1, 1, 1, 64), "mask"),
        ("args_1", (1, 1, 1, 64), "mask"),
    ],
)
def test_inputs_are_known_by_name_or_shape(
    name: str, shape: tuple[int, ...], expected: str
) -> None:
    assert role({"name": name, "shape": np.array(shape)}) == expected


def test_names_in_the_registry_and_of_experiments_tell_the_problem() -> None:
    assert registered_name("classification", "coral_usb3") == "edgenas-coral_usb3"
    assert registered_name("detection", "coral_usb3") == "edgenas-detection-coral_usb3"
    assert experiment_name("classification") == "edgenas"
    assert experiment_name("segmentation") == "edgenas-segmentation"
