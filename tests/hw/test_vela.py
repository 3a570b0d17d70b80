"""The bench for Ethos-U with a stand-in that writes what Vela writes; for real where it is."""

import sys
import time

import pytest

from hw.__main__ import main
from hw.benches import vela
from hw.benches.vela import Vela
from hw.families.ethos_u.vela_output import VelaOutputError, read_output
from hw.measuring.bench import BenchError, BenchSettings
from hw.tflite.model import TfliteError

SUMMARY = """\
accelerator_configuration,system_config,memory_mode,core_clock,inference_time,nn_macs,\
sram_memory_used,dram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used,\
dram_weight_read_bytes,on_chip_flash_weight_read_bytes,off_chip_flash_weight_read_bytes
Ethos_U55_128,Some_System,Some_Mode,500000000.0,0.000003,1234,2.5,0.0,0.0,1.0,0,0,1000
"""
LAYERS = """\
Original Operator,NNG Operator,Target,Op Cycles,NPU,SRAM AC,DRAM AC,OnFlash AC,OffFlash AC,\
MAC Count,Name
Conv2D,Conv2D,NPU,1000,400,300,0,0,1000,1234,first
Minimum,Minimum,NPU,500,500,100,0,0,0,0,op0
Custom,Passthrough,CPU,0,0,NaN,0,0,0,0,op1
Custom,Passthrough,CPU,0,0,0,0,0,0,0,op2
"""
PRINTED = """
Warning (supported operators) operator: CUSTOM, ofm: 'op1'
Reason: Unsupported opType

Network summary for model
"""
OPS = ["MINIMUM", "my-op", "my-op"]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Makes a module that is run in Vela's place, with its arguments in a file."""

    def make(summary=SUMMARY, layers=LAYERS, printed=PRINTED, ending="sys.exit(0)"):
        folder = tmp_path / "lib"
        folder.mkdir(exist_ok=True)
        (folder / "fake_vela.py").write_text(
            "import pathlib, sys, time\n"
            f"pathlib.Path({str(tmp_path / 'arguments')!r}).write_text(' '.join(sys.argv[1:]))\n"
            "out = pathlib.Path(sys.argv[sys.argv.index('--output-dir') + 1])\n"
            f"(out / 'model_summary_Some_System.csv').write_text({summary!r})\n"
            f"(out / 'model_per-layer.csv').write_text({layers!r})\n"
            f"print({printed!r})\n{ending}\n"
        )
        monkeypatch.setattr(vela, "MODULE", "fake_vela")
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.syspath_prepend(folder)

    return make


@pytest.fixture
def model(tmp_path, tiny_tflite):
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_tflite(OPS))
    return path


def bench(**settings):
    return Vela(BenchSettings(**{"timeout_s": 60, **settings}))


def test_the_report_tells_what_vela_said(stand_in, model, tmp_path):
    stand_in()
    before = sorted(tmp_path.rglob("*"))
    report = bench().measure(model)
    assert report.device == "vela Ethos_U55_128, Some_System, Some_Mode"
    assert (report.method, report.latency_ms) == ("compiled", pytest.approx(0.003))
    assert report.latency_interval_ms is None
    # Derived: KiB of the table in bytes.
    assert (report.peak_memory_bytes, report.weight_bytes) == (2560, 1024)
    assert (report.streamed_bytes, report.macs) == (1000, 0)
    assert report.host_ops == (("op1", "Unsupported opType"), ("op2", vela.UNSAID))
    # Derived: cycles at 500 MHz.
    assert [share.latency_ms for share in report.per_op] == pytest.approx([2e-3, 1e-3, 0, 0])
    assert [share.bound for share in report.per_op] == ["streaming", "compute", "host", "host"]
    assert report.left_out == ("2 ops on the host, whose time Vela does not tell",)
    made = set(tmp_path.rglob("*")) - set(before)
    assert {path.name for path in made if "__pycache__" not in path.parts} == {"arguments"}


def test_it_compiles_for_the_device_that_is_asked_for(stand_in, model, tmp_path):
    stand_in()
    bench(device="ethos_u85_512_flash").measure(model)
    given = (tmp_path / "arguments").read_text()
    for words in (
        "--accelerator-config ethos-u85-512",
        "--system-config Ethos_U85_SYS_Flash_High",
        "--memory-mode Shared_Sram",
    ):
        assert words in given


def test_a_device_of_another_family_is_refused(stand_in, model, capsys):
    stand_in()
    given = ["measure", str(model), "--bench", "vela", "--device", "coral_usb3"]
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "must be of the family ethos_u" in line and "coral_usb3 of edge_tpu" in line


def test_nothing_mapped_has_no_latency(stand_in, model):
    host_only = "\n".join(line for line in LAYERS.splitlines() if ",NPU,1000" not in line)
    stand_in(layers=host_only.replace("Minimum,NPU", "Passthrough,CPU"))
    report = bench().measure(model)
    assert report.latency_ms is None and len(report.host_ops) == 3


@pytest.mark.parametrize("dtype", ["float32"])
def test_a_float_file_is_refused_before_vela_runs(stand_in, tmp_path, tiny_tflite, dtype):
    stand_in()
    path = tmp_path / "float.tflite"
    path.write_bytes(tiny_tflite(dtype=dtype))
    with pytest.raises(TfliteError, match="must work on int8 or uint8 to run on an Ethos-U"):
        bench().measure(path)
    assert not (tmp_path / "arguments").exists()


def test_a_traceback_becomes_one_line(stand_in, model):
    stand_in(ending="raise RuntimeError('no networks')")
    with pytest.raises(BenchError, match="but got: RuntimeError: no networks") as caught:
        bench().measure(model)
    assert "\n" not in str(caught.value) and "exit status 1" in str(caught.value)


def test_it_does_not_wait_for_ever(stand_in, model):
    stand_in(ending="time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(BenchError, match="must compile within 1 s, but got no end"):
        bench(timeout_s=1.0).measure(model)
    assert time.monotonic() - began < 20


def test_where_it_is_not_installed_it_says_so(model, monkeypatch, capsys):
    monkeypatch.setattr(vela, "MODULE", "no_such_package.vela")
    assert main(["measure", str(model), "--bench", "vela"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{vela.WHERE}, but got none.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"summary": SUMMARY.replace("nn_macs", "macs")}, "tables must be those of Vela 5.2"),
        ({"layers": LAYERS.replace("Op Cycles", "Cycles")}, "tables must be those of Vela 5.2"),
        ({"summary": SUMMARY.splitlines()[0]}, "a summary must have a row"),
    ],
)
def test_tables_in_another_form_are_refused(stand_in, model, changes, message):
    stand_in(**changes)
    with pytest.raises(BenchError, match=message):
        bench().measure(model)


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(VelaOutputError, match=r"must hold one file \*_summary_\*\.csv, but got 0"):
        read_output(tmp_path, "")


@pytest.mark.skipif(bench().missing() is not None, reason="Vela is not installed")
def test_the_command_prints_what_the_real_one_says(model, capsys):
    assert main(["measure", str(model), "--bench", "vela"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NOT COUNTED: 3 ops on the host, whose time Vela does not tell."
    assert any(line.split() == ["op1", "Unsupported", "opType"] for line in lines)
    assert sys.modules.get("ethosu.vela.vela") is None  # it runs in a process of its own
