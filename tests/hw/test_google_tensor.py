"""The bench for Google Tensor: never with Google's library, which few may have.

What LiteRT's compiler is called with and answers is shown on a package in its place; the real one
is driven as well, without a library and with one that a C compiler makes here.
"""

import importlib.util
import json
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from hw.__main__ import main
from hw.benches import google_tensor
from hw.benches.google_tensor import GoogleTensor
from hw.device import load_device
from hw.measuring import tensor_compiler
from hw.measuring.bench import BenchError, BenchSettings
from hw.tflite.model import TfliteError

OPS = ["MAXIMUM", "MINIMUM", "my-op", "MAXIMUM", "FLOOR_DIV"]
TOO_LARGE = """\
INFO: [compiler_plugin.cc:1103] Compiling model...
ERROR: [compiler_plugin.cc:1145] Failed to compile model: INTERNAL: no room.
ERROR: [apply_plugin.cc:455] ERROR: [litert/compiler/plugin/compiler_plugin.cc:504]
INFO: [accelerator_registry.cc:43] DestroyAccelerator: name=CpuAccelerator
"""

# As the functions of ai-edge-litert 2.3.0 behave: `steps` says how each call of them ends.
AOT = """\
import json, os, pathlib, sys, tempfile, time
from types import SimpleNamespace as Record
HERE = pathlib.Path(__file__).parents[2]
def aot_compile(path, output_dir, target, keep_going, **options):
    known = "ai_edge_litert.aot.vendors.google_tensor.google_tensor_backend" in sys.modules
    if not known:
        raise ValueError("Unsupported backend id: GOOGLE")
    calls = HERE / "calls"
    before = calls.read_text().splitlines() if calls.exists() else []
    call = {"path": path, "chip": target.chip, "going": keep_going, "options": options}
    call["temporary"] = tempfile.gettempdir()
    calls.write_text("".join(one + "\\n" for one in (*before, json.dumps(call))))
    step = json.loads((HERE / "steps").read_text())[len(before)]
    made = pathlib.Path(output_dir) / "model_Google_apply_plugin.tflite"
    made.parent.mkdir(parents=True)
    made.touch()
    if "sleep" in step:
        time.sleep(step["sleep"])
    if "exit" in step:
        print("some words of native code", file=sys.stderr, flush=True)
        os.kill(os.getpid(), step["exit"])
    if "log" in step:
        with tempfile.NamedTemporaryFile("w", suffix=".error", delete=False) as log:
            log.write(step["log"])
        raise ValueError(f"apply_plugin failed to apply plugin. See {log.name} for details.")
    if "empty" not in step:
        made.write_bytes((HERE / "compiled").read_bytes())
    counts = [Record(num_ops_offloaded=4, num_total_ops=5, num_partitions_offloaded=2)]
    print("what LiteRT writes of itself")
    return Record(models=[Record(path=made, partition_stats=Record(subgraph_stats=counts))])
"""
TARGET = """\
SocModel = {f"Tensor_G{number}": f"Tensor_G{number}" for number in (3, 4, 5, 6)}.__getitem__
class Target:
    def __init__(self, chip):
        self.chip = chip
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The temporary folder, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def sdk(tmp_path, monkeypatch):
    """A folder with a library that is none, which the variable names."""
    folder = tmp_path / "sdk"
    folder.mkdir()
    (folder / google_tensor.LIBRARY).touch()
    monkeypatch.setenv(google_tensor.VARIABLE, str(folder))
    return folder


class StandIn:
    """A package in the place of LiteRT's compiler, for child processes only."""

    def __init__(self, folder):
        self.folder = folder
        aot = folder / "ai_edge_litert" / "aot"
        vendor = aot / "vendors" / "google_tensor"
        vendor.mkdir(parents=True)
        for one in (aot.parent, aot, aot / "vendors", vendor):
            (one / "__init__.py").touch()
        (aot / "aot_compile.py").write_text(AOT)
        (vendor / "target.py").write_text(TARGET)
        (vendor / "google_tensor_backend.py").touch()

    def answers(self, *steps, compiled=b""):
        (self.folder / "steps").write_text(json.dumps(steps))
        (self.folder / "compiled").write_bytes(compiled)

    @property
    def calls(self):
        path = self.folder / "calls"
        return (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )


@pytest.fixture
def stand_in(tmp_path, monkeypatch, sdk, temporary):
    made = StandIn(tmp_path / "lib")
    monkeypatch.setenv("PYTHONPATH", str(made.folder))
    return made


@pytest.fixture
def model(tmp_path, tiny_tflite):
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_tflite(OPS))
    return path


@pytest.fixture(scope="session")
def left(model_bytes):
    """What is left of :data:`OPS`: two parts for the chip, and one op between them."""
    names = ["x", "y", "op1", "op2", "op4"]
    tensors = [(name, [1, 4, 4, 2], 9, False) for name in names]
    part = "DISPATCH_OP"
    ops = [(part, [0, 1], [2], None), ("my-op", [2, 1], [3], None), (part, [3, 1], [4], None)]
    return model_bytes(tensors, ops, inputs=(0, 1))


def bench(**settings):
    return GoogleTensor(BenchSettings(**{"timeout_s": 60, **settings}))


def test_the_report_tells_what_maps(stand_in, model, left, temporary):
    stand_in.answers({}, compiled=left)
    report = bench().measure(model)
    assert report.device == (
        f"google_tensor Tensor_G5, 4 of 5 ops in 2 partitions; {google_tensor.TERMS}"
    )
    assert (report.method, report.macs, report.per_op) == ("compiled", 0, ())
    assert report.latency_ms is report.peak_memory_bytes is report.weight_bytes is None
    # op4 is of no kind before and after, but what stands there after is a part for the chip.
    assert report.host_ops == (("op2", google_tensor.UNSAID),)
    assert not list(temporary.iterdir())


def test_it_is_called_as_it_asks_to_be(stand_in, model, left, temporary):
    stand_in.answers({}, compiled=left)
    bench().measure(model)
    (call,) = stand_in.calls
    assert (call["path"], call["chip"], call["going"]) == (str(model), "Tensor_G5", False)
    assert call["options"] == {}
    assert temporary in Path(call["temporary"]).parents


@pytest.mark.parametrize("name", ["tensor_g3", "Tensor_G6"])
def test_it_compiles_for_the_chip_that_is_asked_for(stand_in, model, left, name):
    stand_in.answers({}, compiled=left)
    assert "Tensor_G" + name[-1] in bench(device=name).measure(model).device
    assert stand_in.calls[0]["chip"] == "Tensor_G" + name[-1]


@pytest.mark.parametrize("name", ["tensor_g1", "tensor_g2", "coral_usb3"])
def test_another_chip_is_refused_with_those_that_are_possible(stand_in, model, capsys, name):
    stand_in.answers({})
    assert main(["measure", str(model), "--bench", "google_tensor", "--device", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        f"one of tensor_g3, tensor_g4, tensor_g5, tensor_g6 to be compiled for by google_tensor, \
but got '{name}'"
        in line
    )
    assert not stand_in.calls


def test_what_it_writes_is_left_where_it_was_asked_for(stand_in, model, left, tmp_path):
    compiled, folder = left, tmp_path / "out"
    folder.mkdir()
    stand_in.answers({}, compiled=compiled)
    path = bench().written(model, folder)
    assert list(folder.iterdir()) == [path]
    assert (path.name, path.read_bytes()) == ("model_Google_Tensor_G5.tflite", compiled)


@pytest.mark.parametrize("device", ["tensor_g1", "tensor_g3", "coral_usb3", "ethos_u55_128"])
def test_it_fits_nothing_as_bundles_are_passed_on(device):
    assert not bench().fits(load_device(device))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"log": TOO_LARGE}, r"Failed to compile model: INTERNAL: no room\. Make its largest"),
        (
            {"log": "ERROR: [a.cc:7] Failed to load Tensor TPU compiler library: x.so: no file\n"},
            r"x\.so: no file\. Install Google's compiler library anew; it is for Linux",
        ),
        (
            {"log": "Partitioned subgraph<0>, selected 0 ops, from a total of 5 ops.\nERROR: no"},
            r"got: no op of it that the compiler takes\. Convert it to builtin ops",
        ),
        (
            {"log": "ERROR: [a.cc:7] \nINFO: [b.cc:9] Compiling model...\n\n"},
            r"got: an end without a reason, after Compiling model\. Try another version",
        ),
        ({"log": ""}, r"got: apply_plugin failed to apply plugin\. See "),
        ({"empty": True}, r"got: an empty file\. Try another version"),
        ({"exit": 11}, r"got: some words of native code \(a crash with SIGSEGV\)\. Try another"),
    ],
)
def test_a_failure_is_one_line_and_leaves_no_file(stand_in, model, temporary, step, words):
    stand_in.answers(step)
    folder = model.parent / "out"
    folder.mkdir()
    with pytest.raises(
        BenchError, match=rf"must compile for Tensor_G5, but {words}|{words}"
    ) as got:
        bench().written(model, folder)
    assert "\n" not in str(got.value) and str(got.value).startswith(f"{model}: must compile for")
    assert not list(folder.iterdir()) and not list(temporary.iterdir())
    assert len(stand_in.calls) == 1


@pytest.mark.parametrize("chip", ["tensor_g3", "tensor_g4"])
def test_what_is_too_large_for_an_old_chip_is_tried_with_other_options(
    stand_in, model, left, chip
):
    stand_in.answers({"log": TOO_LARGE}, {}, compiled=left)
    report = bench(device=chip).measure(model)
    assert f"{chip[-2:].upper()}, half precision and maximum sharding, 4 of 5" in report.device
    first, second = stand_in.calls
    assert first["options"] == {}
    assert second["options"] == {
        "google_tensor_truncation_type": "half",
        "google_tensor_sharding_intensity": "maximum",
    }
    assert first["temporary"] != second["temporary"]


def test_it_is_tried_twice_and_no_more(stand_in, model):
    stand_in.answers({"log": TOO_LARGE}, {"log": TOO_LARGE.replace("no room", "still none")})
    with pytest.raises(BenchError, match=r"INTERNAL: still none\. Make its largest"):
        bench(device="tensor_g4").measure(model)
    assert len(stand_in.calls) == 2


def test_another_failure_on_an_old_chip_is_final(stand_in, model):
    stand_in.answers({"log": "ERROR: [a.cc:7] UNIMPLEMENTED: this\n"})
    with pytest.raises(BenchError, match="got: UNIMPLEMENTED: this"):
        bench(device="tensor_g3").measure(model)
    assert len(stand_in.calls) == 1


def test_it_does_not_wait_for_ever(stand_in, model, temporary):
    stand_in.answers({"sleep": 60})
    began = time.monotonic()
    with pytest.raises(BenchError, match=r"must compile within 1 s, but got no end\. Allow more"):
        bench(timeout_s=1.0).measure(model)
    assert time.monotonic() - began < 20
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("ops", "dtype", "words"),
    [
        (["MAXIMUM"], "float32", "must work on int8 or uint8"),
        (["edgetpu-custom-op"], "int8", "must be the model before compilation"),
        (["ethos-u"], "int8", "must be the model before compilation"),
    ],
)
def test_what_cannot_compile_is_refused_before(stand_in, tmp_path, tiny_tflite, ops, dtype, words):
    _refused(stand_in, tmp_path, tiny_tflite(ops, dtype), words)


def test_what_was_compiled_for_a_chip_is_refused(stand_in, tmp_path, conv_model, model_bytes):
    tensors = [("x", [1, 8], 9, False), ("y", [1, 8], 9, False)]
    compiled = model_bytes(tensors, [("DISPATCH_OP", [0], [1], None)])
    _refused(stand_in, tmp_path, compiled, "got one that LiteRT compiled for a chip already")
    _refused(stand_in, tmp_path, conv_model(kind=0), "must work on int8 or uint8")


def test_junk_is_refused(stand_in, tmp_path):
    _refused(stand_in, tmp_path, b"not a model at all", "must be a whole .tflite file")


def _refused(stand_in, folder, data, words):
    stand_in.answers({})
    path = folder / "bad.tflite"
    path.write_bytes(data)
    for called in (bench().measure, lambda one: bench().written(one, folder)):
        with pytest.raises(TfliteError, match=words) as caught:
            called(path)
        assert "\n" not in str(caught.value)
    assert not stand_in.calls


def test_where_there_is_no_compiler_it_says_how_to_get_one(model, monkeypatch, capsys):
    monkeypatch.delenv(google_tensor.VARIABLE, raising=False)
    monkeypatch.setattr(google_tensor, "PACKAGE", "no_such_package")
    assert main(["measure", str(model), "--bench", "google_tensor"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{google_tensor.WHERE}, but got none.")
    for words in ("ai-edge-litert-sdk-google-tensor", google_tensor.VARIABLE, "sign up at http"):
        assert words in line


def test_the_variable_names_a_folder(model, monkeypatch, sdk):
    monkeypatch.setattr(google_tensor, "PACKAGE", "no_such_package")
    assert bench().missing() is None
    # The name of the variable misleads: a path of the library itself is what many would give.
    monkeypatch.setenv(google_tensor.VARIABLE, str(sdk / google_tensor.LIBRARY))
    with pytest.raises(BenchError, match=r"must be the folder that liblitert_plugin_compiler\.so"):
        bench().measure(model)


def test_the_package_is_enough(monkeypatch):
    monkeypatch.delenv(google_tensor.VARIABLE, raising=False)
    monkeypatch.setattr(google_tensor, "PACKAGE", "json")
    assert bench().missing() is None


def test_a_person_reads_the_terms(stand_in, model, left, capsys):
    stand_in.answers({}, compiled=left)
    assert main(["measure", str(model), "--bench", "google_tensor"]) == 0
    shown = capsys.readouterr().out
    assert main(["measure"]) == 0
    for text in (shown, capsys.readouterr().out):
        assert "results are not to be published, compared or passed on" in text
    assert "unknown: this bench tells none" in shown


# --- LiteRT's own compiler, with no library of Google's ----------------------------------------

REAL = importlib.util.find_spec("ai_edge_litert") is not None and (
    (platform.system(), platform.machine()) == ("Linux", "x86_64")
)
GOOGLES = importlib.util.find_spec("ai_edge_litert_sdk_google_tensor") is not None
real = pytest.mark.skipif(
    not REAL or GOOGLES, reason="LiteRT compiles for Tensor on Linux and x86-64 only"
)
# The functions that LiteRT 2.3.0 looks up in Google's library, as its open adapter declares them
# (google-ai-edge/LiteRT, litert/vendors/google_tensor/adapter_aot.h). What is not refused has no
# room, unless it is for half precision (field 1: 3) and maximum sharding (field 7: 4).
LIBRARY = r"""
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static bool told(const char *word) {
  const char *found = getenv("STAND_IN");
  return found && !strcmp(found, word);
}
bool GoogleTensorCompileFlatbuffer(const char *model, size_t size, const char *options,
                                   size_t length, char ***code, size_t **sizes, size_t *count,
                                   char **error) {
  if (told("hang")) sleep(60);
  if (told("crash")) abort();
  bool forced = length > 4 && !memcmp(options, "\x08\x03\x38\x04", 4);
  if (told("small") && !forced) {
    *error = strdup("INTERNAL: no room on the chip\nand more about it");
    return false;
  }
  *code = malloc(sizeof(char *));
  *sizes = malloc(sizeof(size_t));
  (*code)[0] = strdup("program");
  (*sizes)[0] = 7;
  *count = 1;
  return true;
}
void GoogleTensorCompilerFreeCompiledCode(char **code, size_t *sizes, size_t count) {
  for (size_t one = 0; one < count; one++) free(code[one]);
  free(code);
  free(sizes);
}
void GoogleTensorCompilerFreeErrorMessage(char *error) { free(error); }
bool GoogleTensorGetUnsupportedOps(const char *model, size_t size, const char *options,
                                   size_t length, int32_t **ops, size_t *count, char **error) {
  *ops = malloc(sizeof(int32_t));
  *count = 0;
  return true;
}
void GoogleTensorFreeUnsupportedOps(int32_t *ops) { free(ops); }
"""


@pytest.fixture(scope="module")
def made_library(tmp_path_factory):
    """A folder with a library in the place of Google's."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is at hand")
    folder = tmp_path_factory.mktemp("library")
    (folder / "library.c").write_text(LIBRARY)
    command = [compiler, "-shared", "-fPIC", "-o", google_tensor.LIBRARY, "library.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder


@pytest.fixture
def library(made_library, monkeypatch, temporary):
    """Makes the library end as a word says."""
    monkeypatch.setenv(google_tensor.VARIABLE, str(made_library))
    return lambda word: monkeypatch.setenv("STAND_IN", word)


@real
def test_the_failure_of_the_real_one_without_a_library_is_one_line(sdk, model, temporary):
    with pytest.raises(BenchError, match=r"Failed to load .*\. Install Google's compiler") as got:
        bench().written(model, temporary)
    assert "\n" not in str(got.value) and "file too short" in str(got.value)
    assert not list(temporary.iterdir())


@real
def test_the_real_one_asks_the_package_for_its_folder(model, tmp_path, monkeypatch, temporary):
    empty, lib = tmp_path / "empty", tmp_path / "lib"
    empty.mkdir(), lib.mkdir()
    (lib / f"{google_tensor.PACKAGE}.py").write_text(
        f"path_to_sdk_libs = lambda: {str(empty)!r}\n"
    )
    monkeypatch.delenv(google_tensor.VARIABLE, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(lib))
    monkeypatch.syspath_prepend(lib)
    with pytest.raises(BenchError, match=r"Failed to load .*: cannot open shared object file"):
        bench().measure(model)


@real
def test_the_real_one_compiles_in_part(library, model):
    library("work")
    report = bench().measure(model)
    assert "Tensor_G5, 4 of 5 ops in 2 partitions;" in report.device
    assert report.host_ops == (("op2", google_tensor.UNSAID),)


@real
def test_the_real_one_compiles_a_whole_network(library, tmp_path, conv_model):
    library("work")
    path = tmp_path / "conv.tflite"
    path.write_bytes(conv_model())
    report = bench(device="tensor_g6").measure(path)
    assert "Tensor_G6, 1 of 1 ops in 1 partition;" in report.device
    assert report.host_ops == () and report.macs == 3 * 3 * 16 * 3 * 3 * 8
    # What it makes is known for what it is.
    compiled = bench().written(path, tmp_path)
    with pytest.raises(TfliteError, match="that LiteRT compiled for a chip already"):
        bench().measure(compiled)


@real
def test_the_real_one_hands_other_options_on(library, model):
    library("small")
    report = bench(device="tensor_g3").measure(model)
    assert "Tensor_G3, half precision and maximum sharding, 4 of 5 ops" in report.device
    with pytest.raises(BenchError, match=r"INTERNAL: no room on the chip\. Make its") as caught:
        bench(device="tensor_g5").measure(model)
    assert "\n" not in str(caught.value)


@real
def test_the_real_one_fails_where_nothing_maps(library, tmp_path, tiny_tflite):
    library("work")
    path = tmp_path / "custom.tflite"
    path.write_bytes(tiny_tflite(["my-op"]))
    with pytest.raises(BenchError, match=f"got: {tensor_compiler.NO_OP}"):
        bench().measure(path)


@real
def test_a_crash_of_the_library_is_one_line(library, model, temporary):
    library("crash")
    with pytest.raises(BenchError, match="an end without a reason, after Compiling model") as got:
        bench().measure(model)
    assert "\n" not in str(got.value)
    assert not list(temporary.iterdir())


@real
def test_the_real_one_is_stopped_at_its_limit(library, model, temporary):
    library("hang")
    began = time.monotonic()
    with pytest.raises(BenchError, match=r"must compile within 2 s, but got no end"):
        bench(timeout_s=2.0).measure(model)
    assert time.monotonic() - began < 20
    assert not list(temporary.iterdir())
