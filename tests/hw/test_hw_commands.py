"""``python -m hw``: output, exit status, and one line for each mistake."""

import dataclasses
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hw.__main__ import main
from hw.report import CostReport

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "tflite"
MOBILENET = SHARED / "mobilenet_v1_0.25_128_quant.tflite"
DEEPLAB = SHARED / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")


def test_devices_lists_the_profiles(capsys):
    assert main(["devices"]) == 0
    text = capsys.readouterr().out
    assert "coral_usb3" in text and "tensor_g1" in text and "calibrated on" in text


@needs_models
def test_json_has_the_fields_of_the_cost_report(capsys):
    assert main(["estimate", str(MOBILENET), "--device", "coral_usb3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record) == {field.name for field in dataclasses.fields(CostReport)}
    assert record["device"] == "coral_usb3"
    assert record["macs"] == 13_570_304
    assert sum(share["latency_ms"] for share in record["per_op"]) == pytest.approx(
        record["latency_ms"]
    )


@needs_models
def test_estimate_says_what_is_modelled_and_what_is_not_calibrated(capsys):
    assert main(["estimate", str(MOBILENET), "--device", "coral_usb3"]) == 0
    text = capsys.readouterr().out
    assert "modelled, uncalibrated" in text and "90 % interval" in text
    assert "takes" in text and " ms" in text


@needs_models
def test_explain_names_host_ops_with_reasons_and_a_cure(capsys):
    assert main(["explain", str(DEEPLAB), "--device", "coral_usb3"]) == 0
    text = capsys.readouterr().out
    assert "More than one subgraph is not supported" in text
    assert "8 ops stay on the host" in text
    assert "100.0 %" in text and "bound by" in text
    assert "What would help most:\n1. " in text


@needs_models
def test_several_subgraphs_map_what_is_behind_a_host_op(capsys):
    counts = []
    for option in ([], ["-a"]):
        assert main(["estimate", str(DEEPLAB), "--device", "coral_usb3", "--json", *option]) == 0
        counts.append(len(json.loads(capsys.readouterr().out)["host_ops"]))
    assert counts[0] > counts[1] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["estimate", "absent.tflite", "--device", "coral_usb3"], "must be a readable file"),
        (
            ["estimate", "absent.tflite", "--device", "nosuch"],
            "device must be one of any_processor",
        ),
        (
            ["explain", "absent.tflite", "--device", "coral_usb3", "--cost-model", "x"],
            "cost model must be one of analytic, compiled, macs_only",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, arguments, message):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_missing_arguments_exit_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["estimate"])
    assert caught.value.code == 2
    assert "--device" in capsys.readouterr().err


def test_help_is_fast_and_nothing_heavy_is_imported():
    code = (
        "import sys; from hw.__main__ import main\n"
        "import hw.families.edge_tpu.analytic, hw.tflite.reader\n"
        "assert not {'tensorflow', 'mlflow', 'prefect', 'ai_edge_litert'} & set(sys.modules)\n"
        "main(['--help'])"
    )
    start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "estimate" in done.stdout
    # Of the processor, which a busy machine does not lengthen much: a second, with room.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start < 5
