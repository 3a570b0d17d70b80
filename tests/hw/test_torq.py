"""The bench for Synaptics' Torq with three programs in the place of its own, which none has here.

They refuse to be called in another way than Synaptics' sources and manuals tell.
"""

import json
import sys
import tempfile
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hw.__main__ import main
from hw.benches import torq
from hw.benches.torq import Torq
from hw.measuring.bench import BenchError, BenchSettings
from hw.measuring.running import plain_outputs
from hw.measuring.torq_programs import PROGRAMS
from hw.protocols import RunningBench
from hw.tflite.model import TfliteError
from tasks.learning import parity
from tasks.shipping.card import latency_of
from tasks.shipping.readme import _latency

CONVERTER, COMPILER, RUNNER = PROGRAMS

# What each of them does is told by the file `steps`, by its name.
PROGRAM = """\
import json, os, pathlib, sys, time
here, name, arguments = pathlib.Path(__file__).parent, sys.argv[1], sys.argv[2:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([name, *arguments]) + "\\n")
(here / "folder").write_text(os.getcwd())
step = json.loads((here / "steps").read_text()).get(name, {})

def check(good):
    if not good:
        sys.exit(f"error: unexpected arguments: {arguments}")

npu_alone = ["--torq-disable-host", "--torq-disable-css"]
if name == "tosa-converter-for-tflite":
    made = arguments[3]
    check(arguments == [arguments[0], "--text", "-o", "model.mlir"])
    check(pathlib.Path(arguments[0]).is_absolute())
    content = b"MLIR of " + pathlib.Path(arguments[0]).read_bytes()
elif name == "torq-compile":
    made, more = arguments[2], arguments[4:]
    check(arguments[:4] == ["model.mlir", "-o", "model.vmfb", "--torq-hw=SL2610"])
    check(more in (npu_alone, ["--torq-target-host-triple=native"]))
    check(pathlib.Path("model.mlir").read_bytes().startswith(b"MLIR of "))
    content = b"VMFB"
    if more == npu_alone and "alone" in step:
        step = step["alone"]
else:
    made = "output0.npy"
    check(arguments == [
        "--module=model.vmfb", "--device=torq", "--torq_hw_type=sim",
        "--input=@input0.npy", "--input=@input1.npy", "--output=@output0.npy",
    ])
    check(pathlib.Path("model.vmfb").read_bytes() == b"VMFB")
    import io
    import numpy as np
    one, other = (np.load(f"input{number}.npy") for number in range(2))
    check(one.dtype == other.dtype == np.int8 and one.shape == other.shape == (1, 4, 4, 2))
    found = np.maximum(one, other)
    if "add" in step:
        found = found + np.int8(step["add"])
    if "type" in step:
        found = found.astype(step["type"])
    if "shape" in step:
        found = found.reshape(step["shape"])
    file = io.BytesIO()
    np.save(file, found)
    content = file.getvalue()
if "content" in step:
    content = step["content"].encode()
if "nothing" not in step:
    pathlib.Path(made).write_bytes(content)
print("EXEC @main")
time.sleep(step.get("sleep", 0))
print(step.get("say", ""), file=sys.stderr, flush=True)
if "signal" in step:
    os.kill(os.getpid(), step["signal"])
sys.exit(step.get("exit", 0))
"""


class Toolchain:
    """A folder with a model, and one on PATH with the three programs."""

    def __init__(self, folder, monkeypatch, content):
        self.bin, self.work, self.temporary = (
            folder / name for name in ("bin", "work", "temporary")
        )
        for one in (self.bin, self.work, self.temporary):
            one.mkdir()
        (self.bin / "program.py").write_text(PROGRAM)
        for name in PROGRAMS:
            path = self.bin / name
            path.write_text(
                f'#!/bin/sh\nexec "{sys.executable}" "${{0%/*}}/program.py" {name} "$@"\n'
            )
            path.chmod(0o755)
        self.does()
        self.model = self.work / "model.tflite"
        self.model.write_bytes(content)
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        monkeypatch.setattr(tempfile, "tempdir", str(self.temporary))

    def does(self, **steps):
        names = {"convert": CONVERTER, "compile": COMPILER, "run": RUNNER}
        found = {names[name]: step for name, step in steps.items()}
        (self.bin / "steps").write_text(json.dumps(found))

    @property
    def calls(self):
        path = self.bin / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def toolchain(tmp_path, monkeypatch, tiny_tflite):
    return Toolchain(tmp_path, monkeypatch, tiny_tflite(["MAXIMUM"]))


@pytest.fixture
def form(monkeypatch):
    """What LiteRT would tell of the outputs' form, without its process."""
    like = (np.zeros((1, 4, 4, 2), np.int8),)
    monkeypatch.setattr(torq, "plain_outputs", lambda *_: like)


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    # Room for a step above the largest number.
    return [rng.integers(-128, 126, (3, 4, 4, 2), np.int8) for _ in range(2)]


def bench(**settings):
    return Torq(BenchSettings(**{"timeout_s": 120, **settings}))


def refused(toolchain, words, samples=None, **settings):
    """The one line that a file is refused with, and no trace of it."""
    made = bench(**settings)
    with pytest.raises(BenchError, match=words) as caught:
        made.measure(toolchain.model) if samples is None else made.outputs(
            toolchain.model, samples
        )
    assert "\n" not in str(caught.value)
    assert not list(toolchain.temporary.iterdir())
    assert list(toolchain.work.iterdir()) == [toolchain.model]
    return str(caught.value)


def test_a_file_that_the_npu_takes_alone(toolchain):
    report = bench().measure(toolchain.model)
    assert report.device == (
        "torq SL2610, all of it on the NPU; no time, as its profile calls one unit cycles and "
        "microseconds"
    )
    assert (report.method, report.macs, report.host_ops, report.left_out) == (
        "compiled",
        0,
        (),
        (),
    )
    assert report.latency_ms is report.peak_memory_bytes is report.weight_bytes is None
    assert [call[0] for call in toolchain.calls] == [CONVERTER, COMPILER]
    assert not list(toolchain.temporary.iterdir())
    assert list(toolchain.work.iterdir()) == [toolchain.model]


@pytest.mark.parametrize("step", [{"exit": 1}, {"signal": 6}, {"nothing": True}])
def test_a_file_that_the_npu_does_not_take_alone(toolchain, capsys, step):
    toolchain.does(compile={"alone": {"say": "error: 'tosa.sin' op failed", **step}})
    assert main(["measure", str(toolchain.model), "--bench", "torq"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"NOT COUNTED: {torq.UNCOUNTED}.\n")
    assert "part of it on the host or the CSS; no time, as its profile calls" in shown
    assert "unknown: this bench tells none" in shown
    assert [call[0] for call in toolchain.calls] == [CONVERTER, COMPILER, COMPILER]


@pytest.mark.parametrize("add", [0, 1])
def test_outputs_are_those_of_the_simulator(toolchain, samples, add):
    toolchain.does(run={"add": add})
    made = bench()
    assert isinstance(made, RunningBench)
    (found,) = made.outputs(toolchain.model, samples)
    (plain,) = plain_outputs(toolchain.model, samples, BenchSettings())
    assert (found.dtype, found.shape) == (np.int8, (3, 4, 4, 2))
    assert (found == plain + np.int8(add)).all()
    assert [call[0] for call in toolchain.calls] == [CONVERTER, COMPILER, *[RUNNER] * 3]
    assert not list(toolchain.temporary.iterdir())


@pytest.mark.parametrize("add", [0, 1])
def test_it_takes_part_in_parity(toolchain, samples, add, monkeypatch):
    toolchain.does(run={"add": add})
    # Two inputs and an output, steps of a half.
    details = {"dtype": np.int8, "quantization": (0.5, 0)}
    signature = parity.Signature({"x": details, "y": details}, {"op0": details})
    monkeypatch.setattr(parity, "signature_of", lambda _: signature)
    problem = SimpleNamespace(
        metric=SimpleNamespace(name="mean"),
        deployed=("op0",),
        inputs=lambda few, _: {name: array / 2 for name, array in few.items()},
        score=lambda outputs, *_: {"mean": float(outputs[0].mean())},
    )
    arrays = dict(zip("xy", samples, strict=True))
    benches = {"torq": parity.running_benches()["torq"]}
    (row,) = parity.compared(problem, toolchain.model, arrays, None, benches)
    assert (row.bench, row.samples, row.reason) == ("torq", 3, "")
    assert (row.largest, row.mean) == ({"op0": add / 2}, {"op0": add / 2})
    assert row.steps == {"op0": add}
    assert row.metric == pytest.approx(row.reference + add / 2)


def test_a_card_does_not_call_it_measured(toolchain):
    report = bench().measure(toolchain.model)
    told = _latency(latency_of("d", report, {}, {"torq": report, "host_cpu": "no LiteRT."}))
    assert f"| compiled, torq | {report.device} | not told | none | 0 |" in told
    assert "| measured, host_cpu |" in told


def test_what_it_cannot_run_is_a_row_with_the_reason(toolchain, samples, monkeypatch):
    toolchain.does(run={"exit": 1, "say": "a.c:7: OUT_OF_RANGE; 1 outputs specified\nstack"})
    details = {"dtype": np.int8, "quantization": (0.5, 0)}
    signature = parity.Signature({"x": details, "y": details}, {"op0": details})
    monkeypatch.setattr(parity, "signature_of", lambda _: signature)
    problem = SimpleNamespace(inputs=lambda few, _: few)
    arrays = dict(zip("xy", samples, strict=True))
    (row,) = parity.compared(problem, toolchain.model, arrays, None, {"torq": bench()})
    assert f"must pass {RUNNER}, but got: a.c:7: OUT_OF_RANGE; 1 outputs specified (" in row.reason


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_not_there_is_named_with_where_to_get_it(toolchain, name):
    (toolchain.bin / name).unlink()
    line = refused(toolchain, "must be on PATH")
    assert line.startswith(f"{name} must be on PATH (packages tosa-converter-for-tflite, torq-c")
    assert line.endswith("glibc 2.38 or newer), but got none.")
    assert line == f"{bench().missing()}, but got none."
    assert "torq" not in parity.running_benches()
    assert not toolchain.calls


def test_all_that_is_not_there_is_named(toolchain, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert bench().missing().startswith(f"{CONVERTER}, {COMPILER}, {RUNNER} must be on PATH")


@pytest.mark.parametrize(
    ("stage", "step", "words"),
    [
        ("convert", {"exit": 1, "say": "error: no op X\nmore"}, "error: no op X (exit status 1)"),
        ("convert", {"nothing": True}, "no model.mlir (exit status 0)"),
        ("convert", {"content": ""}, "no model.mlir (exit status 0)"),
        ("compile", {"exit": 1, "say": "no more\nValueError: x"}, "ValueError: x (exit status 1)"),
        ("compile", {"signal": 11, "nothing": True}, "EXEC @main (a crash with SIGSEGV)"),
        ("compile", {"nothing": True}, "no model.vmfb (exit status 0)"),
        (
            "run",
            {"exit": 1, "say": "x: INVALID_ARGUMENT; y\nz"},
            "x: INVALID_ARGUMENT; y (exit st",
        ),
        ("run", {"signal": 6}, "EXEC @main (a crash with SIGABRT)"),
        ("run", {"nothing": True}, "no output0.npy (exit status 0)"),
    ],
)
def test_a_failure_is_one_line_with_a_cure(toolchain, samples, form, stage, step, words):
    toolchain.does(**{stage: step})
    program = {"convert": CONVERTER, "compile": COMPILER, "run": RUNNER}[stage]
    line = refused(toolchain, f"must pass {program}", samples)
    assert line.startswith(f"{toolchain.model}: must pass {program}, but got: {words}")
    cures = {
        "convert": "Convert the model to",
        "compile": "Make its largest",
        "run": "Try another",
    }
    assert f"). {cures[stage]}" in line


def test_a_system_that_is_too_old_is_told(toolchain):
    old = f"{CONVERTER}: libc.so.6: version `GLIBC_2.38' not found (required by {CONVERTER})"
    toolchain.does(convert={"exit": 1, "say": old})
    assert "Run it on a system with glibc 2.38 or newer" in refused(toolchain, "GLIBC_2.38")


def test_a_failure_with_and_without_the_npu_alone_tells_the_latter(toolchain):
    failed = {"exit": 1, "say": "error: the latter"}
    toolchain.does(compile={"alone": {"exit": 1, "say": "error: the former"}, **failed})
    assert "former" not in refused(toolchain, "error: the latter")


def test_what_a_failed_run_leaves_is_no_answer(toolchain):
    # The first attempt writes a file and fails; the second one ends well, and writes nothing.
    toolchain.does(compile={"alone": {"exit": 1}, "nothing": True})
    refused(toolchain, r"got: no model\.vmfb")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"type": "float32"}, "int8 of 1x4x4x2, but got float32 of 1x4x4x2"),
        ({"type": "uint8"}, "int8 of 1x4x4x2, but got uint8 of 1x4x4x2"),
        ({"shape": [1, 32]}, "int8 of 1x4x4x2, but got int8 of 1x32"),
        ({"content": "junk"}, "int8 of 1x4x4x2, but got what NumPy does not read"),
    ],
)
def test_outputs_of_another_form_are_refused(toolchain, samples, form, step, words):
    toolchain.does(run=step)
    line = refused(toolchain, f"output0.npy of {RUNNER} must be {words}", samples)
    assert "Try another version of torq-compiler, and torq-runtime of the same." in line


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["convert", "compile", "run"])
def test_a_program_that_hangs_is_stopped(toolchain, samples, form, stage):
    toolchain.does(**{stage: {"sleep": 300}})
    start = time.monotonic()
    refused(toolchain, r"within 1 s for all of its work, but got no end\.", samples, timeout_s=1)
    assert time.monotonic() - start < 150  # of 300, with room for a busy machine


def test_a_program_of_another_machine_is_one_line(toolchain):
    (toolchain.bin / COMPILER).write_bytes(b"\x7fELF and no more")
    line = refused(toolchain, "must be a program for this machine, but got: Exec format error")
    assert f"{COMPILER} must be on PATH (packages" in line


@pytest.mark.parametrize(
    ("ops", "dtype", "words"),
    [(["MAXIMUM"], "float32", "int8 or uint8"), (["edgetpu-custom-op"], "int8", "before compil")],
)
def test_what_it_cannot_take_is_refused_before(toolchain, tiny_tflite, samples, ops, dtype, words):
    toolchain.model.write_bytes(tiny_tflite(ops, dtype))
    for work in (bench().measure, lambda path: bench().outputs(path, samples)):
        with pytest.raises(TfliteError, match=words):
            work(toolchain.model)
    assert not toolchain.calls


def test_junk_is_refused_before(toolchain, samples):
    toolchain.model.write_bytes(b"not a model at all")
    with pytest.raises(TfliteError, match=r"model\.tflite: must be"):
        bench().outputs(toolchain.model, samples)
    assert not toolchain.calls


def test_names_are_no_shell_text(toolchain, tiny_tflite, monkeypatch):
    monkeypatch.chdir(toolchain.work)
    name = "-x; touch $(pwd) 'a.tflite"
    toolchain.model.rename(toolchain.work / name)
    assert bench().measure(type(toolchain.model)(name)).method == "compiled"
    assert toolchain.calls[0][1] == str(toolchain.work / name)
