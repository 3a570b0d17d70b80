"""The compiler bench with a program that answers like Google's; for real where that is."""

import shutil
import time

import pytest

from hw.benches.edgetpu_compiler import EdgetpuCompiler
from hw.device import load_device
from hw.families.edge_tpu import mapping
from hw.measuring.bench import BenchError, BenchSettings
from hw.tflite.model import TfliteError

OPS = ["MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "my-op"]
LEFT = ["edgetpu-custom-op", "MINIMUM", "SQUARED_DIFFERENCE", "my-op"]
LOG = f"""\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 12 ms.

Input model: model.tflite
On-chip memory used for caching model parameters: 1.50KiB
On-chip memory remaining for caching model parameters: 7.00MiB
Off-chip memory used for streaming uncached model parameters: 0.50KiB
Number of Edge TPU subgraphs: 1
Total number of operations: 4

Operator                       Count      Status

MAXIMUM                        1          Mapped to Edge TPU
MINIMUM                        1          {mapping.SECOND_SUBGRAPH}
SQUARED_DIFFERENCE             1          {mapping.UNSPECIFIED}
SQUARED_DIFFERENCE             1          {mapping.SECOND_SUBGRAPH}
CUSTOM                         1          {mapping.NOT_SUPPORTED}
Compilation child process completed within timeout period.
Compilation succeeded!
"""


class Toolchain:
    """A folder with a model, and one on PATH with the compiler."""

    def __init__(self, folder, monkeypatch, model):
        self.bin, self.work = folder / "bin", folder / "work"
        self.bin.mkdir(), self.work.mkdir()
        self.model = self.work / "model.tflite"
        self.model.write_bytes(model)
        self.arguments = self.bin / "arguments"
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        monkeypatch.chdir(self.work)

    def install(self, log=LOG, compiled=None, ending="exit 0"):
        (self.bin / "log").write_text(log)
        copy = ""
        if compiled is not None:
            (self.bin / "compiled").write_bytes(compiled)
            copy = f'name=$(basename "$4" .tflite); cp "{self.bin}/compiled" '
            copy += '"$3/${name}_edgetpu.tflite"; echo > "${name}_edgetpu.log"'
        program = self.bin / "edgetpu_compiler"
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > "{self.arguments}"\n'
            f'cat "{self.bin}/log"\n{copy}\n{ending}\n'
        )
        program.chmod(0o755)

    def measure(self, path=None, **settings):
        bench = EdgetpuCompiler(BenchSettings(**{"timeout_s": 30, **settings}))
        return bench.measure(path or self.model)


@pytest.fixture
def toolchain(tmp_path, monkeypatch, tiny_tflite):
    return Toolchain(tmp_path, monkeypatch, tiny_tflite(OPS))


def test_the_report_tells_what_the_compiler_decided(toolchain, tiny_tflite):
    toolchain.install(compiled=tiny_tflite(LEFT))
    report = toolchain.measure()
    assert (report.device, report.method) == ("edgetpu_compiler 16.0.384591198", "compiled")
    assert (report.weight_bytes, report.streamed_bytes) == (2048, 512)
    assert report.host_ops == (
        ("op1", mapping.SECOND_SUBGRAPH),
        ("op2", f"{mapping.UNSPECIFIED} or: {mapping.SECOND_SUBGRAPH}"),
        ("op3", mapping.NOT_SUPPORTED),
    )
    assert report.latency_ms is report.first_inference_ms is report.peak_memory_bytes is None


def test_what_it_writes_is_left_where_it_was_asked_for(toolchain, tiny_tflite, tmp_path):
    compiled = tiny_tflite(LEFT)
    toolchain.install(compiled=compiled)
    bench = EdgetpuCompiler(BenchSettings(timeout_s=30))
    path = bench.written(toolchain.model, tmp_path)
    assert (path.parent, path.name) == (tmp_path, "model_edgetpu.tflite")
    assert path.read_bytes() == compiled


@pytest.mark.parametrize(
    ("device", "fits"),
    [("coral_usb3", True), ("tensor_g1", False), ("ethos_u55_128", False)],
)
def test_it_compiles_for_devices_that_name_it(device, fits):
    assert EdgetpuCompiler(BenchSettings()).fits(load_device(device)) is fits


def test_the_program_gets_its_arguments_and_a_folder_that_goes_away(toolchain, tiny_tflite):
    toolchain.install(compiled=tiny_tflite(LEFT))
    toolchain.measure()
    show, out, folder, model = toolchain.arguments.read_text().splitlines()
    assert (show, out, model) == ("-s", "-o", str(toolchain.model))
    assert not shutil.os.path.exists(folder)
    assert list(toolchain.work.iterdir()) == [toolchain.model]


def test_names_are_no_shell_text(toolchain, tiny_tflite):
    toolchain.install(compiled=tiny_tflite(LEFT))
    path = toolchain.work / "-x; touch $(pwd) 'a.tflite"
    path.write_bytes(tiny_tflite(OPS))
    assert toolchain.measure(path).host_ops
    assert toolchain.arguments.read_text().splitlines()[3] == str(path)


def test_a_link_keeps_its_name(toolchain, tiny_tflite):
    toolchain.install(compiled=tiny_tflite(LEFT))
    toolchain.model.rename(toolchain.work / "0af3")
    toolchain.model.symlink_to(toolchain.work / "0af3")
    assert toolchain.measure().host_ops


def test_a_kind_that_the_log_leaves_out_says_so(toolchain, tiny_tflite):
    log = LOG.replace("MINIMUM ", "MAXIMUM ").replace("CUSTOM ", "MAXIMUM ")
    toolchain.install(log, tiny_tflite(LEFT))
    (_, reason), _, (_, other) = toolchain.measure().host_ops
    assert reason == other == "left on the host without a word in the compiler's log"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "Edge TPU Compiler version 14.1.1\n\nInternal compiler error. Aborting!\n",
            r"edgetpu_compiler 14\.1\.1, but got: Internal compiler error \(exit status 1\)\. Try",
        ),
        (
            "Edge TPU Compiler version 16.0.1\nInvalid model: model.tflite\nModel not quantized\n",
            r"Model not quantized \(exit status 1\)\. Convert it with full integer",
        ),
        (
            "ERROR: Didn't find op for builtin opcode 'EXP'.\nModel could not be parsed\n",
            r"'EXP'; Model could not be parsed \(exit status 1\)\. Convert with TensorFlow 2",
        ),
        ("ERROR: a delegate that only supports static-sized tensors\n", "Set batch_size=1"),
        ("Compilation timeout. This is large.\nCompilation failed!\n", "largest activations"),
        ("Compilation failed! \n", r"Compilation failed \(exit status 1\)\. Run edgetpu_compiler"),
        ("", r"with edgetpu_compiler, but got: an empty log \(exit status 1\)"),
    ],
)
def test_a_failure_is_one_line_with_a_cure(toolchain, log, words):
    toolchain.install(log, ending="exit 1")
    with pytest.raises(BenchError, match=words) as caught:
        toolchain.measure()
    assert "\n" not in str(caught.value)


def test_what_is_said_on_standard_error_counts(toolchain):
    toolchain.install("Edge TPU Compiler version 16.0.1\n", ending="echo ERROR: no op >&2; exit 1")
    with pytest.raises(BenchError, match=r"but got: no op \(exit status 1\)"):
        toolchain.measure()


def test_a_crash_is_one_line(toolchain):
    toolchain.install("", ending="kill -SEGV $$")
    with pytest.raises(BenchError, match=r"an empty log \(a crash with SIGSEGV\)"):
        toolchain.measure()


def test_a_success_without_a_file_is_a_failure(toolchain):
    toolchain.install(LOG)
    with pytest.raises(BenchError, match=r"but got: no compiled file \(exit status 0\)"):
        toolchain.measure()


def test_a_compiler_that_hangs_is_stopped(toolchain):
    toolchain.install("", ending="sleep 300; exit 0")
    start = time.monotonic()
    with pytest.raises(BenchError, match=r"must compile within 0\.5 s, but got no end"):
        toolchain.measure(timeout_s=0.5)
    assert time.monotonic() - start < 150  # of 300, with room for a busy machine


def test_a_missing_compiler_is_named_with_where_to_get_it(toolchain):
    with pytest.raises(
        BenchError, match=r"must be on PATH \(.*package edgetpu-compiler.*got none"
    ):
        toolchain.measure()


def test_a_program_of_another_machine_is_one_line(toolchain):
    program = toolchain.bin / "edgetpu_compiler"
    program.write_bytes(b"\x7fELF and no more")
    program.chmod(0o755)
    with pytest.raises(BenchError, match="must be a program for this machine, but got: Exec form"):
        toolchain.measure()


@pytest.mark.parametrize(
    ("ops", "dtype", "words"),
    [(["MAXIMUM"], "float32", "int8 or uint8"), (["edgetpu-custom-op"], "int8", "before compil")],
)
def test_what_cannot_compile_is_refused_before(toolchain, tiny_tflite, ops, dtype, words):
    toolchain.install()
    toolchain.model.write_bytes(tiny_tflite(ops, dtype))
    with pytest.raises(TfliteError, match=words):
        toolchain.measure()
    assert not toolchain.arguments.exists()


@pytest.mark.compiler
def test_the_real_compiler_maps_a_tiny_model(tmp_path, tiny_tflite):
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_tflite(["MAXIMUM"]))
    bench = EdgetpuCompiler(BenchSettings())
    if bench.missing() is not None:
        pytest.skip(bench.missing())
    report = bench.measure(path)
    assert report.device.startswith("edgetpu_compiler ")
    assert report.streamed_bytes == 0
