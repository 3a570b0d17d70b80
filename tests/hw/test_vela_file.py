"""Files that Vela made: real ones, where it is installed, and damaged copies of them."""

import json
import struct

import pytest

from hw.__main__ import main
from hw.benches.vela import Vela
from hw.families.ethos_u.vela_file import parse_vela, read_vela
from hw.measuring.bench import BenchSettings
from hw.tflite.model import TfliteError
from hw.tflite.writer import written
from spaces.graph import OpGraph

pytestmark = pytest.mark.skipif(
    Vela(BenchSettings()).missing() is not None, reason="Vela is not installed"
)
SIDE, WIDTH = 64, 8
FAR = 4
"""A stride that an Ethos-U55 does not have."""


@pytest.fixture
def network(tmp_path, networks):
    """A file of convolutions with these strides."""

    def make(*strides):
        ops, source, shape = [], "input", (1, SIDE, SIDE, WIDTH)
        for number, stride in enumerate(strides):
            ops.append(networks.conv(f"c{number}", source, shape, WIDTH, 5, stride))
            source, shape = ops[-1].name, ops[-1].output_shape
        path = tmp_path / "model.tflite"
        path.write_bytes(written(OpGraph(ops[0].input_shape, tuple(ops)), 0, splits_groups=True))
        return path

    return make


@pytest.fixture
def made(network, tmp_path):
    """Compiles such a file for a device."""

    def make(*strides, device="ethos_u55_128"):
        settings = BenchSettings(timeout_s=120, device=device)
        return Vela(settings).written(network(*strides), tmp_path)

    return make


@pytest.mark.parametrize(
    ("device", "accelerator"),
    [
        ("ethos_u55_128", "ethos-u55-128"),
        ("ethos_u65_512", "ethos-u65-512"),
        ("ethos_u85_256", "ethos-u85-256"),
    ],
)
def test_a_file_says_which_accelerator_it_is_for(made, device, accelerator):
    model = read_vela(made(1, device=device))
    (part,) = model.parts
    assert part.accelerator == accelerator and model.host_operators == ()
    assert part.command_bytes > 0 and part.scratch_bytes > 0
    assert (part.fast_scratch_bytes is None) == device.startswith("ethos_u55")


def test_parts_and_what_is_left_to_the_host_are_counted(made, capsys):
    path = made(1, FAR, 1, FAR)
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "ethos-u55-128" in text and "2 operators run on the host (CONV_2D)" in text
    assert "2 parts run on the accelerator" in text
    assert main(["inspect", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["parts"], record["host_operators"]) == (2, 2)
    assert record["host_operator_names"] == ["CONV_2D", "CONV_2D"]
    assert record["command_bytes"] == sum(one.command_bytes for one in read_vela(path).parts)
    assert {layer["data_type"] for layer in record["inputs"]} == {"int8"}


def test_a_file_before_compilation_is_none_of_its(network):
    assert read_vela(network(1)) is None


def test_other_commands_ask_for_the_file_before_compilation(made, capsys):
    path = made(1, FAR, 1, FAR)
    assert main(["estimate", str(path), "--device", "ethos_u55_128"]) == 2
    error = capsys.readouterr().err
    assert "got the output of Vela" in error and error.count("\n") == 1


def test_commands_of_another_form_are_of_an_unknown_accelerator(made):
    data = bytearray(made(1).read_bytes())
    assert data.count(b"COP1") == 1
    place = data.index(b"COP1")
    told = struct.unpack_from("<I", data, place + 8)[0]
    struct.pack_into("<I", data, place + 8, told | 0xF0000000)
    assert parse_vela(bytes(data), "m").parts[0].accelerator is None
    data[place : place + 4] = b"COP2"
    assert parse_vela(bytes(data), "m").parts[0].accelerator is None


def test_a_damaged_file_is_refused_in_one_line(made):
    data = made(1, FAR, 1, FAR).read_bytes()
    for length in range(8, len(data), 101):
        try:
            parse_vela(data[:length], "m")
        except TfliteError as error:
            assert str(error).startswith("m: must be") and "\n" not in str(error)
