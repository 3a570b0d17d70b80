"""Which files a compiler refuses as a whole."""

from pathlib import Path

import pytest

from hw.__main__ import main
from hw.families.edge_tpu.acceptance import check_accepted
from hw.families.edge_tpu.mapping import compiler_names, rules_of
from hw.tflite.model import TfliteError
from hw.tflite.reader import parse_tflite, read_tflite
from hw.tflite.schema import OPERATORS

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")
INT32, INT8 = 2, 9
CORAL, TENSOR = "edgetpu_compiler_16", "tensor"
NUMBERS = {name: number for number, name in OPERATORS.items()}
OPEN = {7: [-1, 4, 4, 8]}


def check(data, compiler=CORAL):
    check_accepted(parse_tflite(data, "net.tflite"), compiler)


def resized(model_bytes, builtin, places, batch=None, constant=False):
    """An op with a size operand in each of ``places``, made by SHAPE or constant."""
    weights = builtin == "TRANSPOSE_CONV"
    tensors = [
        ("x", [1, 4, 4, 8], INT8, False, *([batch] if batch else [])),
        ("sizes", [4], INT32, constant),
        ("w", [8, 3, 3, 8], INT8, True),
        ("y", [1, 4, 4, 8], INT8, False),
    ]
    data = [2, 0] if weights else [0]
    read = iter(data)
    operands = [1 if place in places else next(read) for place in range(len(data) + len(places))]
    shape = [] if constant else [("SHAPE", [0], [1], None)]
    ops = [*shape, (builtin, operands, [3], None)]
    return model_bytes(tensors, [(NUMBERS[name], *rest) for name, *rest in ops])


COMPUTED = pytest.mark.parametrize(
    ("builtin", "places"),
    [
        ("RESHAPE", (1,)),
        ("TRANSPOSE_CONV", (0,)),
        ("RESIZE_BILINEAR", (1,)),
        ("RESIZE_NEAREST_NEIGHBOR", (1,)),
        ("PADV2", (1,)),
        ("SLICE", (1, 2)),
        ("STRIDED_SLICE", (1, 2, 3)),
        ("MEAN", (1,)),
        ("TILE", (1,)),
    ],
)


@COMPUTED
def test_open_batch_with_a_computed_size_is_refused_with_the_cure(model_bytes, builtin, places):
    cure = rf"sizes must be fixed .*run time in y \({builtin}.*\).*Set batch_size=1 in the input"
    for compiler in compiler_names():
        with pytest.raises(TfliteError, match=cure) as caught:
            check(resized(model_bytes, builtin, places, OPEN), compiler)
        assert "\n" not in str(caught.value)


@COMPUTED
def test_computed_size_is_refused_though_the_batch_is_fixed(model_bytes, builtin, places):
    with pytest.raises(TfliteError, match=r"sizes must be fixed .* Fix it, and convert again\."):
        check(resized(model_bytes, builtin, places))


@COMPUTED
def test_open_batch_with_constant_sizes_is_taken(model_bytes, builtin, places):
    check(resized(model_bytes, builtin, places, OPEN, constant=True))


def test_a_size_computed_of_constants_is_computed_all_the_same(model_bytes):
    tensors = [
        ("x", [1, 8], INT8, False),
        ("one", [], INT32, True),
        ("sizes", [2], INT32, False),
        ("y", [1, 8], INT8, False),
    ]
    pack, reshape = (83, [1, 1], [2], None), (22, [0, 2], [3], None)
    with pytest.raises(TfliteError, match="sizes must be fixed"):
        check(model_bytes(tensors, [pack, reshape]))


def test_results_as_long_as_it_happens_are_refused(model_bytes):
    tensors = [("x", [1, 8], INT8, False), ("y", [1, 8], INT8, False), ("z", [4, 2], INT8, False)]
    where = (NUMBERS["WHERE"], [1], [2], None)
    with pytest.raises(TfliteError, match=r"run time in z \(WHERE\)"):
        check(model_bytes(tensors, [(19, [0], [1], None), where]))


def test_sizes_are_no_activations(model_bytes):
    model = parse_tflite(resized(model_bytes, "TRANSPOSE_CONV", (0,), OPEN), "net.tflite")
    assert model.quantized
    assert [name for name, _ in model.unsupported] == ["sizes"]  # the SHAPE alone


# --- versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("builtin", "version", "said"),
    [
        ("CONV_2D", 6, r"CONV_2D version 6 \(at most 5\)"),
        ("TRANSPOSE_CONV", 4, r"TRANSPOSE_CONV version 4 \(at most 3\)"),
        ("QUANTIZE", 3, r"QUANTIZE version 3 \(at most 2\)"),
        ("EXP", 2, r"EXP version 2 \(at most 1\)"),
        ("FULLY_CONNECTED", 12, r"FULLY_CONNECTED version 12 \(at most 9\)"),
        ("GELU", 1, "GELU"),
        ("DYNAMIC_UPDATE_SLICE", 1, "DYNAMIC_UPDATE_SLICE"),
        ("STABLEHLO_COMPOSITE", 1, "STABLEHLO_COMPOSITE"),
        ("builtin operator 222", 1, "builtin operator 222"),
    ],
)
def test_one_operator_that_is_too_new_refuses_the_file(model_bytes, builtin, version, said):
    number = NUMBERS.get(builtin, 222)
    data = relu(model_bytes, {number: version})
    with pytest.raises(TfliteError, match=rf"edgetpu_compiler 16, .*but got {said}\. .*2\.6"):
        check(data)
    check(data, TENSOR)


def test_a_profile_that_takes_groups_takes_their_version(model_bytes):
    model = parse_tflite(relu(model_bytes, {NUMBERS["CONV_2D"]: 6}), "net.tflite")
    check_accepted(model, CORAL, native=True)
    worse = parse_tflite(relu(model_bytes, {NUMBERS["CONV_2D"]: 7}), "net.tflite")
    with pytest.raises(TfliteError, match=r"CONV_2D version 7 \(at most 6\)"):
        check_accepted(worse, CORAL, native=True)


def relu(model_bytes, versions, *more):
    """A ReLU; ``versions`` are of operators that the file names and does not use."""
    tensors = [(name, [1, 8], INT8, False) for name in "xyz"]
    ops = [(19, [0], [1], None), *((name, [1], [2], None) for name in more)]
    return model_bytes(tensors, ops, versions=versions)


@pytest.mark.parametrize("compiler", [name for name in compiler_names() if name != TENSOR])
def test_each_operator_is_taken_in_its_highest_version_and_no_further(model_bytes, compiler):
    known = rules_of(compiler).versions
    check(relu(model_bytes, {NUMBERS[name]: highest for name, highest in known.items()}), compiler)
    for name, highest in known.items():
        with pytest.raises(TfliteError, match=f"{name} version {highest + 1}"):
            check(relu(model_bytes, {NUMBERS[name]: highest + 1}), compiler)


def test_what_a_compiler_maps_it_can_read():
    for compiler in compiler_names():
        rules = rules_of(compiler)
        assert not rules.versions or {kind.value for kind in rules.kinds} <= set(rules.versions)


def test_newer_compilers_know_what_older_ones_do():
    older, middle, newer = (rules_of(f"edgetpu_compiler_{n}").versions for n in (14, 15, 16))
    assert all(middle[name] >= highest for name, highest in older.items())
    assert all(newer[name] >= highest for name, highest in middle.items())
    # google-coral/edgetpu #210 and #340
    assert (older["CONV_2D"], middle["REVERSE_V2"], newer["REVERSE_V2"]) == (4, 2, 3)


def test_many_operators_are_counted(model_bytes):
    versions = {NUMBERS[name]: 20 for name in ("ADD", "SUB", "MUL", "DIV", "EXP")}
    with pytest.raises(TfliteError, match=r"MUL version 20 \(at most 5\) and 2 more\. Convert"):
        check(relu(model_bytes, versions))


def test_operators_of_tensorflow_refuse_the_file_and_custom_ones_do_not(model_bytes):
    with pytest.raises(TfliteError, match=r"of TensorFlow Lite, .*FlexErf.*SELECT_TF_OPS"):
        check(relu(model_bytes, None, "FlexErf"))
    check(relu(model_bytes, None, "my_own_op"))


def test_commands_refuse_what_does_not_compile_in_one_line(model_bytes, tmp_path, capsys):
    path = tmp_path / "net.tflite"
    path.write_bytes(resized(model_bytes, "RESHAPE", (1,), OPEN))
    for command in ("estimate", "explain"):
        assert main([command, str(path), "--device", "coral_usb3"]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1 and "batch_size=1" in said.err


@needs_models
def test_real_models_that_compile_are_taken():
    for compiled in SHARED.glob("*_edgetpu.tflite"):
        original = compiled.with_name(compiled.name.replace("_edgetpu", ""))
        check_accepted(read_tflite(original), CORAL)
