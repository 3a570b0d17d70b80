"""Files of several subgraphs: each is costed, or said to be left out."""

import json

import pytest

from hw.__main__ import main
from hw.families.edge_tpu.acceptance import check_accepted
from hw.tflite.model import TfliteError
from hw.tflite.reader import DEEPEST, parse_tflite

INT32, INT8 = 2, 9
ADD, RELU, DENSE, SHAPE, IF, WHILE, CALL, RESHAPE = 0, 19, 9, 77, 118, 119, 31, 22
COMPOSITE = 206
WHILE_1_2 = (93, {0: ("i", 1), 1: ("i", 2)})
IF_1_2 = (92, {0: ("i", 1), 1: ("i", 2)})


def dense(units, *more):
    """A subgraph with a dense op of 16 inputs; 16 * units MACs."""
    tensors = [
        ("x", [1, 16], INT8, False),
        ("w", [units, 16], INT8, True),
        ("y", [1, units], INT8, False),
    ]
    return tensors, [(DENSE, [0, 1], [2], None), *more], (0,)


def run_by(model_bytes, op, options, *others, **more):
    """A ReLU, and behind it an op that runs other subgraphs."""
    tensors = [(name, [1, 16], INT8, False) for name in ("x", "y", "run")]
    ops = [(RELU, [0], [1], None), (op, [1], [2], options)]
    return model_bytes(tensors, ops, others=others, **more)


LOOP = pytest.param(WHILE, WHILE_1_2, "run (WHILE, 768 MACs a round)", id="loop")
BRANCHES = pytest.param(IF, IF_1_2, "run (IF, 512 MACs)", id="branches")


@pytest.mark.parametrize(("op", "options", "what"), [LOOP, BRANCHES])
def test_what_ops_run_is_said_to_be_left_out(model_bytes, tmp_path, capsys, op, options, what):
    path = tmp_path / "net.tflite"
    # derived: 16 * 32 and 16 * 16 MACs; a loop takes both, one of two branches is taken
    path.write_bytes(run_by(model_bytes, op, options, dense(32), dense(16)))
    for command in ("estimate", "explain"):
        assert main([command, str(path), "--device", "coral_usb3"]) == 0
        first = capsys.readouterr().out.splitlines()[0]
        assert first == f"NOT THE WHOLE FILE: the figures leave out what stands in {what}."
    assert main(["estimate", str(path), "--device", "coral_usb3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == [f"what stands in {what}"]


def test_a_whole_file_leaves_nothing_out(conv_model, tmp_path, capsys):
    path = tmp_path / "net.tflite"
    path.write_bytes(conv_model())
    assert main(["estimate", str(path), "--device", "coral_usb3"]) == 0
    assert capsys.readouterr().out.startswith("device")
    model = parse_tflite(conv_model(), "net.tflite")
    assert model.left_out == () and model.macs == model.graph.macs


def test_loops_within_loops_and_shared_bodies_are_counted_once(model_bytes):
    tensors, ops, inputs = dense(16)
    tensors = [*tensors, ("z", [1, 16], INT8, False)]
    inner = (WHILE, [2], [3], (93, {0: ("i", 3), 1: ("i", 3)}))
    data = run_by(
        model_bytes, WHILE, WHILE_1_2, dense(1), (tensors, [*ops, inner], inputs), dense(2)
    )
    # derived: 16 + (256 + 2 * 32); the loop within counts once
    assert parse_tflite(data, "").left_out == ("what stands in run (WHILE, 336 MACs a round)",)


def test_a_subgraph_that_runs_itself_ends(model_bytes):
    tensors = [(name, [1, 16], INT8, False) for name in "xy"]
    again = (tensors, [(WHILE, [0], [1], (93, {0: ("i", 1), 1: ("i", 0)}))], (0,))
    assert (
        "0 MACs"
        in parse_tflite(run_by(model_bytes, WHILE, (93, {0: ("i", 1)}), again), "").left_out[0]
    )


def test_a_long_chain_of_subgraphs_is_refused(model_bytes):
    tensors = [(name, [1, 16], INT8, False) for name in "xy"]
    chain = [
        (tensors, [(CALL, [0], [1], (16, {0: ("u", number)}))], (0,))
        for number in range(2, DEEPEST + 2)
    ]
    data = run_by(model_bytes, CALL, (16, {0: ("u", 1)}), *chain, dense(1))
    with pytest.raises(TfliteError, match=f"at most {DEEPEST} deep in each other"):
        parse_tflite(data, "net.tflite")


@pytest.mark.parametrize("options", [None, (93, {0: ("i", 1), 1: ("i", 3)}), (92, {0: ("i", 1)})])
def test_an_op_that_does_not_say_what_it_runs_is_damaged(model_bytes, options):
    with pytest.raises(TfliteError, match=r"must be a whole \.tflite file"):
        parse_tflite(run_by(model_bytes, WHILE, options, dense(1), dense(1)), "net.tflite")


def test_a_new_operator_without_its_options_is_unknown_and_not_damaged(model_bytes):
    tensors = [(name, [1, 16], INT8, False) for name in "xyz"]
    ops = [(RELU, [0], [1], None), (COMPOSITE, [1], [2], (5, {1: ("i", 1)}))]
    model = parse_tflite(model_bytes(tensors, ops), "net.tflite")
    with pytest.raises(TfliteError, match=r"but got STABLEHLO_COMPOSITE\. Convert"):
        check_accepted(model, "edgetpu_compiler_16")


def test_loops_over_constants_run_all_the_same(model_bytes):
    tensors = [
        ("x", [1, 16], INT8, False),
        ("start", [1, 16], INT8, True),
        ("end", [1, 16], INT8, False),
        ("y", [1, 16], INT8, False),
    ]
    ops = [(WHILE, [1], [2], WHILE_1_2), (ADD, [0, 2], [3], None)]
    model = parse_tflite(model_bytes(tensors, ops, others=(dense(1), dense(16))), "")
    assert [op.name for op in model.graph.ops] == ["end", "y"]
    assert model.left_out


def test_sizes_that_a_body_computes_refuse_the_file(model_bytes):
    tensors = [
        ("x", [1, 16], INT8, False),
        ("sizes", [2], INT32, False),
        ("reshaped", [1, 16], INT8, False),
    ]
    body = (tensors, [(SHAPE, [0], [1], None), (RESHAPE, [0, 1], [2], None)], (0,))
    model = parse_tflite(run_by(model_bytes, WHILE, WHILE_1_2, dense(1), body), "net.tflite")
    with pytest.raises(TfliteError, match=r"computed at run time in reshaped \(RESHAPE\)"):
        check_accepted(model, "edgetpu_compiler_16")


# --- signatures --------------------------------------------------------------------------------


def signed(model_bytes, signatures):
    tensors, ops, inputs = dense(32)
    return model_bytes(tensors, ops, inputs, others=(dense(16), dense(8)), signatures=signatures)


def test_a_signature_is_costed_by_its_name(model_bytes, tmp_path, capsys):
    path = tmp_path / "net.tflite"
    path.write_bytes(signed(model_bytes, {"encode": 0, "decode": 1, "score": 2}))
    command = ["estimate", str(path), "--device", "coral_usb3", "--json"]
    macs = {}
    for name in ("encode", "decode", "score"):
        assert main([*command, "--signature", name]) == 0
        record = json.loads(capsys.readouterr().out)
        macs[name] = record["macs"]
        assert record["left_out"] == []
    assert macs == {
        "encode": 512,
        "decode": 256,
        "score": 128,
    }  # derived: 16 * 32, 16 * 16, 16 * 8


def test_without_a_name_the_first_is_costed_and_the_others_are_named(
    model_bytes, tmp_path, capsys
):
    path = tmp_path / "net.tflite"
    path.write_bytes(signed(model_bytes, {"encode": 0, "decode": 1, "score": 2}))
    assert main(["estimate", str(path), "--device", "coral_usb3"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("NOT THE WHOLE FILE") and "decode, score" in first
    assert "--signature NAME" in first and "encode" not in first


def test_several_names_for_one_network_leave_nothing_out(model_bytes):
    assert parse_tflite(signed(model_bytes, {"a": 0, "b": 0}), "").left_out == ()


def test_many_signatures_are_not_listed_all(model_bytes):
    (said,) = parse_tflite(signed(model_bytes, {f"s{n}": 1 for n in range(9)}), "").left_out
    assert "s0, s1, s2, ..." in said


def test_an_unknown_signature_is_answered_with_those_there_are(model_bytes, tmp_path, capsys):
    path = tmp_path / "net.tflite"
    path.write_bytes(signed(model_bytes, {"encode": 0, "decode": 1}))
    assert main(["explain", str(path), "--device", "coral_usb3", "--signature", "run"]) == 2
    said = capsys.readouterr().err
    assert "signature must be one of encode, decode, but got 'run'" in said


def test_a_signature_of_a_subgraph_that_is_not_there_is_damage(model_bytes):
    with pytest.raises(TfliteError, match="subgraph 3 must be one of 3"):
        parse_tflite(signed(model_bytes, {"a": 3}), "net.tflite")
