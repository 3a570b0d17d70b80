"""What compiled files say of themselves: real ones, by published rows, and ones written here."""

import csv
import json
from pathlib import Path

import pytest

from hw.__main__ import main
from hw.families.edge_tpu.compiled_package import Layer, parse_compiled, read_compiled
from hw.tflite.model import TfliteError

SHARED = Path(__file__).parents[2].parent / "shared"
ROWS = SHARED / "measurements" / "compiled_packages.csv"
needs_models = pytest.mark.skipif(not ROWS.is_file(), reason="real models are not at hand")
STAND_ALONE, PARAMETER_CACHING, EXECUTION_ONLY = 0, 1, 2


def published():
    """Rows of the table whose very file is at hand."""
    if not ROWS.is_file():
        return []
    with ROWS.open() as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        path = SHARED / "tflite" / Path(row["path"]).name
        if path.is_file() and path.stat().st_size == int(row["file_bytes"]):
            found.append(pytest.param(path, row, id=f"{row['repo']}-{path.stem}"))
    return found


def shapes(layers):
    return ";".join("x".join(map(str, layer.shape)) for layer in layers)


@pytest.mark.parametrize(("path", "row"), published())
def test_real_files_say_what_was_published_of_them(path, row):
    model = read_compiled(path)
    total = model.totals()
    columns = {
        "executables": "n_exec",
        "min_runtime_version": "min_runtime",
        "narrow_memory_bytes_per_tile": "narrow_bytes_per_tile",
        "streamed_parameter_bytes": "streamed_param_bytes",
        "cached_parameter_bytes": "cached_param_bytes",
        "instruction_bytes": "instr_bytes",
        "input_bytes": "in_bytes",
        "output_bytes": "out_bytes",
    }
    assert {key: total[key] for key in columns} == {
        key: int(row[column]) for key, column in columns.items()
    }
    assert (model.compiler_cycles or 0) == int(row["est_cycles"])
    assert (shapes(model.inputs), shapes(model.outputs)) == (row["in_shapes"], row["out_shapes"])
    assert {package.main.kind for package in model.packages} == {EXECUTION_ONLY}


@needs_models
def test_at_least_five_real_files_are_compared():
    assert len(published()) >= 5


@needs_models
def test_all_real_compiled_files_are_read():
    paths = sorted((SHARED / "tflite").glob("*_edgetpu.tflite"))
    totals = {path.name: read_compiled(path).totals() for path in paths}
    assert len(totals) >= 10
    assert all(total["cached_parameter_bytes"] > 0 for total in totals.values())
    # Published: operators beside the custom op in the compiled twin.
    assert totals["movenet_single_pose_lightning_ptq_edgetpu.tflite"]["host_operators"] == 59


@pytest.fixture
def cached(executable):
    """Two executables: 640 bytes that stay on chip, 64 that do not."""
    layers = [("x", 192, 8, 8, 3), ("y", 16, 1, 1, 10)]
    return [
        executable(EXECUTION_ONLY, 64, (100, 20), 832, layers=layers),
        executable(PARAMETER_CACHING, 640, (48,)),
    ]


def test_what_one_executable_loads_is_cached_and_what_the_other_carries_is_streamed(
    cached, package_options, compiled_bytes
):
    model = parse_compiled(compiled_bytes(package_options(cached), host=2), "m")
    total = model.totals()
    assert (total["cached_parameter_bytes"], total["streamed_parameter_bytes"]) == (640, 64)
    assert (total["instruction_bytes"], total["caching_instruction_bytes"]) == (120, 48)
    assert (total["executables"], total["caching_executables"]) == (1, 1)
    assert total["host_operators"] == 2
    assert model.inputs == (Layer("x", (8, 8, 3), "uint8", 192),)
    assert model.outputs == (Layer("y", (1, 1, 10), "uint8", 16),)
    assert model.packages[0].compiler_version == "cl/1"


@pytest.mark.parametrize("kind", [STAND_ALONE, EXECUTION_ONLY])
def test_a_lone_executable_streams_all(kind, executable, package_options, compiled_bytes):
    options = package_options([executable(kind, 512, (30,))])
    total = parse_compiled(compiled_bytes(options), "m").totals()
    assert (total["cached_parameter_bytes"], total["streamed_parameter_bytes"]) == (0, 512)


def test_of_three_executables_the_one_that_stands_alone_runs(
    cached, executable, package_options, compiled_bytes
):
    options = package_options([*cached, executable(STAND_ALONE, 999)])
    total = parse_compiled(compiled_bytes(options), "m").totals()
    assert (total["cached_parameter_bytes"], total["streamed_parameter_bytes"]) == (0, 999)


def test_packages_of_several_subgraphs_are_summed(
    cached, executable, package_options, compiled_bytes
):
    second = package_options([executable(STAND_ALONE, 36, (5,), 1000)], runtime=14)
    total = parse_compiled(compiled_bytes(package_options(cached), second), "m").totals()
    assert total["streamed_parameter_bytes"] == 64 + 36  # derived
    assert total["narrow_memory_bytes_per_tile"] == 832 + 1000  # derived
    assert total["peak_narrow_memory_bytes_per_tile"] == 1000
    assert (total["executables"], total["min_runtime_version"]) == (2, 14)


@pytest.mark.parametrize("cycles", [(11, "i", 458_040), (16, "q", 458_040)])
def test_cycles_stand_in_an_old_field_or_a_new_one(
    cycles, executable, package_options, compiled_bytes
):
    with_cycles = package_options([executable(STAND_ALONE, cycles=cycles)])
    without = package_options([executable(STAND_ALONE)])
    assert parse_compiled(compiled_bytes(with_cycles), "m").compiler_cycles == 458_040
    assert parse_compiled(compiled_bytes(with_cycles, with_cycles), "m").compiler_cycles == 916_080
    assert parse_compiled(compiled_bytes(with_cycles, without), "m").compiler_cycles is None


def test_a_file_that_is_not_compiled_is_refused(conv_model):
    with pytest.raises(TfliteError, match="m: must be a compiled file, but got one without"):
        parse_compiled(conv_model(), "m")


def test_wrong_packages_are_refused(cached, executable, package_options, compiled_bytes):
    running, caching = cached
    for options, message in [
        (b"", "package 0: custom options must be a FlexBuffers map"),
        (package_options(cached, key="3"), "must hold a package, but do not"),
        (package_options(cached, identifier=b"DWN2"), "must be b'DWN1', but got b'DWN2'"),
        (package_options([]), "executables must be one, or of types 1 and 2"),
        (package_options([running, running]), "types must differ, but 2 is there twice"),
        (
            package_options([running, executable(STAND_ALONE)]),
            "executables must be one, or .* but are of types",
        ),
        (package_options([executable(0, narrow=-1)]), "narrow memory must not be negative"),
        (package_options([b"", caching]), "executable 0: offset 0 must lie within the 0 bytes"),
    ]:
        with pytest.raises(TfliteError, match=message) as caught:
            parse_compiled(compiled_bytes(options), "m")
        assert "\n" not in str(caught.value)


def test_json_has_the_public_keys(tmp_path, capsys, cached, package_options, compiled_bytes):
    path = tmp_path / "m_edgetpu.tflite"
    path.write_bytes(compiled_bytes(package_options(cached)))
    assert main(["inspect", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    public = {
        "cached_parameter_bytes": 640,
        "streamed_parameter_bytes": 64,
        "narrow_memory_bytes_per_tile": 832,
        "instruction_bytes": 120,
        "compiler_cycles": None,
        "executables": 1,
    }
    assert {key: record[key] for key in public} == public
    assert record["inputs"] == [
        {"name": "x", "shape": [8, 8, 3], "data_type": "uint8", "bytes": 192}
    ]


def test_a_reader_is_told_what_matters(
    tmp_path, capsys, cached, executable, package_options, compiled_bytes
):
    path = tmp_path / "m_edgetpu.tflite"
    path.write_bytes(compiled_bytes(package_options(cached), host=1))
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "64 B streamed: 9.1 % of the parameters" in text  # derived: 64 of 704
    assert "version 12 or newer" in text and "8 x 8 x 3" in text and "not in the file" in text
    assert "1 operator runs on the host" in text
    resident = package_options([executable(EXECUTION_ONLY), executable(PARAMETER_CACHING, 8)])
    path.write_bytes(compiled_bytes(resident, resident))
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "0 B streamed: all parameters stay on chip" in text
    assert "2 subgraphs run on the Edge TPU" in text


def test_mistakes_are_one_line_and_status_2(tmp_path, capsys, conv_model, compiled_bytes):
    for name, data in [("a", conv_model()), ("b", b"no model"), ("c", compiled_bytes(b"x"))]:
        path = tmp_path / name
        path.write_bytes(data)
        assert main(["inspect", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and error.startswith(f"hw: {path}: must be a ")
    assert main(["inspect", str(tmp_path / "absent")]) == 2
    assert "must be a readable file" in capsys.readouterr().err
