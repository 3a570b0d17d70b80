"""Published rows: what is read, what is left out, and how tables of results look."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.hosts import HOSTS, groups_of
from benchmarks.networks import Networks
from benchmarks.published import read_rows
from benchmarks.validation import packages, stacks
from benchmarks.validation.section import Section, latency_row
from hw.calibrating.calibration import Scores

SHARED = Path(__file__).parents[2].parent / "shared"
MEASUREMENTS, MODELS = SHARED / "measurements", SHARED / "tflite"
needs_rows = pytest.mark.skipif(not MEASUREMENTS.is_dir(), reason="no published rows at hand")


def write(folder, name, *lines):
    (folder / name).write_text("\n".join(lines) + "\n")


def test_rows_are_read_by_their_public_columns(tmp_path):
    write(
        tmp_path,
        "reference_latency_by_host.csv",
        "tflite,host,edgetpu_latency_ms,source",
        "inception_v1_224_quant_edgetpu.tflite,x86_64,3.06,p",
        "inception_v1_224_quant_edgetpu.tflite,rp3b,19.21,p",
        "tfhub_tf2_resnet_50_imagenet_ptq_edgetpu.tflite,dev_board,51.3,a",
    )
    write(
        tmp_path,
        "layer_stacks_pcie.csv",
        "model,width,macs_as_published,onchip_mib,offchip_mib,latency_ms",
        '"conv3x3 x5, 64x64x3 input",32,154533888,0.07,0.0,2.15',
        '"conv3x3 x5, 64x64x3 input (run 2)",32,154533888,0.07,0.0,2.16',
    )
    rows = read_rows(tmp_path, Networks([]))
    # Left out: a second board of one kind, a network whose file is missing, a second run.
    assert [(row.host, row.network.name, row.latency_ms, row.kind) for row in rows] == [
        ("PCIe card", "conv 3x3, width 32", 2.15, "stack"),
        ("desktop, USB 3", "Inception v1", 3.06, "whole"),
    ]
    assert rows[0].network.graph.macs == 154_533_888


def test_no_files_give_no_rows(tmp_path):
    assert read_rows(tmp_path, Networks([])) == []
    assert stacks.sections(tmp_path) == []
    assert packages.sections(tmp_path) == []


@needs_rows
def test_all_published_rows_belong_to_a_host():
    rows = read_rows(MEASUREMENTS, Networks([MODELS]))
    hosts = Counter(row.host for row in rows)
    assert set(hosts) <= {host.name for host in HOSTS}
    assert hosts["PCIe card"] == 75
    assert hosts["Jetson Nano, USB 3"] == hosts["Jetson Nano, USB 2"] == 22
    assert hosts["desktop, USB 3"] >= 15
    assert sum(len(group.rows) for group in groups_of(rows)) == len(rows)


@needs_rows
def test_stacks_beyond_the_fitted_sizes_are_estimated():
    latency, memory = stacks.sections(MEASUREMENTS)
    for host, _, error, *_, line_error, _, _, _ in latency.rows:
        assert error < 10 < line_error, host
    for name, count, *_, spills in memory.rows:
        assert spills == f"{count} of {count}", name


@pytest.mark.skipif(not MODELS.is_dir(), reason="no real models at hand")
def test_parameter_bytes_of_real_models():
    (section,) = packages.sections(MODELS)
    errors = {row[0]: row[3] for row in section.rows}
    for name in ("dense_1024", "dense_256", "deeplabv3_mnv2_dm05_pascal_quant"):
        assert abs(errors[name]) < 1, name


def test_a_section_says_the_same_in_each_form():
    scores = Scores(1.0, 0.5, 0.9, 0.8), Scores(2.0, 0.7, 0.7, 0.6)
    row = latency_row("x", 7, scores, scores[:1])
    assert row == ("x", 7, 1.5, 0.6, 0.8, 0.7, 1.0, 0.5, 0.9, 0.8)
    section = Section("T", "Text.", (("a", 0), ("b", 2)), (("x", 0.126), ("y", None)))
    assert section.words() == "T\nText.\na  b\nx  0.13\ny  -\n"
    assert section.markdown() == (
        "### T\n\nText.\n\n| a | b |\n| --- | --: |\n| x | 0.13 |\n| y | - |\n"
    )
    assert section.record()["rows"] == [{"a": "x", "b": 0.126}, {"a": "y", "b": None}]
