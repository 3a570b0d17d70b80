"""``python -m hw measure``: output, rows for a calibration, one line for each mistake."""

import argparse
import csv
import dataclasses
import json
from pathlib import Path

import pytest

from hw.__main__ import main
from hw.commands import measuring
from hw.measuring.bench import BenchSettings, bench_names
from hw.measuring.measurements import MeasurementsError, append, row_model
from hw.report import CostReport, ReportError

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
RUN = ["--bench", "host_cpu", "--runs", "20"]


@pytest.fixture
def model(tmp_path, tiny_tflite):
    path = tmp_path / "nets" / "a.tflite"
    path.parent.mkdir()
    path.write_bytes(tiny_tflite())
    return path


def report_of(latency_ms=1.25, **changes):
    report = CostReport(
        "host_cpu", "measured", latency_ms, None, None, None, None, None, None, None, (), ()
    )
    return dataclasses.replace(report, **changes)


def test_without_a_bench_the_benches_are_listed(capsys):
    assert main(["measure"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["bench", "what", "it", "does", "at", "hand"]
    assert [row.split()[0] for row in rows] == list(bench_names())
    (host,) = [row for row in rows if row.startswith("host_cpu")]
    assert host.endswith("yes")


def test_the_listing_is_there_as_json(capsys):
    assert main(["measure", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["bench"] for one in listed] == list(bench_names())
    assert {one["bench"]: one["missing"] for one in listed}["host_cpu"] is None


def test_defaults_are_those_of_the_settings():
    parser = argparse.ArgumentParser()
    measuring.add_command(parser.add_subparsers())
    given = parser.parse_args(["measure"])
    chosen = BenchSettings(given.runs, given.threads, given.seed, given.timeout)
    assert chosen == BenchSettings()


def test_an_interrupted_measurement_ends_without_a_traceback(capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "measure", interrupted)
    assert main(["measure"]) == 130
    assert capsys.readouterr().err == ""


def test_json_has_the_fields_of_the_cost_report(capsys, model):
    assert main(["measure", str(model), *RUN, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record) == {field.name for field in dataclasses.fields(CostReport)}
    assert record["method"] == "measured"
    assert record["latency_ms"] > 0
    assert record["energy_mj"] is None


def test_text_says_what_is_not_known(capsys, model):
    assert main(["measure", str(model), "--bench", "host_cpu", "--runs", "2"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["method", "measured"] in lines
    assert any(words[0] == "latency" and words[1].endswith("ms, median") for words in lines)
    assert ["5", "% to 95 %      none: too few runs"] in lines


def test_rows_are_appended_relative_to_the_file(capsys, model, tmp_path, monkeypatch):
    monkeypatch.chdir(model.parent)
    table = tmp_path / "rows.csv"
    for _ in range(2):
        assert main(["measure", "a.tflite", *RUN, "--append", "../rows.csv"]) == 0
    with table.open(newline="") as file:
        head, first, second = csv.reader(file)
    assert head == ["tflite", "latency_ms"]
    assert first[0] == second[0] == "nets/a.tflite"
    assert (tmp_path / first[0]).samefile(model)
    assert float(first[1]) > 0
    assert "ms, median" in capsys.readouterr().out


def test_a_file_without_a_last_newline_is_continued_on_a_new_line(model, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("tflite,latency_ms\nb.tflite,2.5")
    append(table, row_model(table, model), report_of())
    assert table.read_bytes() == b"tflite,latency_ms\nb.tflite,2.5\nnets/a.tflite,1.25\n"


def test_an_empty_file_gets_a_header(model, tmp_path):
    table = tmp_path / "rows.csv"
    table.touch()
    append(table, row_model(table, model), report_of())
    assert table.read_text() == "tflite,latency_ms\nnets/a.tflite,1.25\n"


def test_a_link_is_named_and_not_what_it_points_to(model, tmp_path):
    link, table = tmp_path / "link.tflite", tmp_path / "rows.csv"
    link.symlink_to(model)
    append(table, row_model(table, link), report_of())
    assert table.read_text().splitlines()[1] == "link.tflite,1.25"


@pytest.mark.parametrize(
    "content", ["architecture,latency_ms\nx,1\n", "latency_ms,tflite\n", "tflite;latency_ms\n"]
)
def test_another_header_is_refused_before_anything_is_measured(capsys, model, tmp_path, content):
    table = tmp_path / "rows.csv"
    table.write_text(content)
    runs = ["--bench", "host_cpu", "--runs", str(10**9), "--append", str(table)]
    assert main(["measure", str(model), *runs]) == 2
    error = capsys.readouterr().err
    assert "columns must be tflite,latency_ms, but got" in error
    assert error.count("\n") == 1
    assert table.read_text() == content


def test_what_is_no_table_is_refused(model, tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    for name, words in (
        ("bytes.csv", "must be a CSV file, but got"),
        ("nets", "must be a CSV file, but got: Is a directory"),
        ("absent/rows.csv", "must lie in a folder that exists"),
    ):
        with pytest.raises(MeasurementsError, match=words) as caught:
            row_model(tmp_path / name, model)
        assert "\n" not in str(caught.value)


def test_rows_name_the_model_before_compilation(model, tmp_path, tiny_tflite):
    compiled, table = model.with_name("a_edgetpu.tflite"), tmp_path / "rows.csv"
    compiled.write_bytes(tiny_tflite(["edgetpu-custom-op"]))
    assert row_model(table, compiled) == model
    model.unlink()
    with pytest.raises(MeasurementsError, match="must have the model that it was compiled of"):
        row_model(table, compiled)


def test_a_row_needs_a_latency(model, tmp_path):
    table = tmp_path / "rows.csv"
    with pytest.raises(MeasurementsError, match="must have a latency, but got none from host_cpu"):
        append(table, model, report_of(None))
    assert not table.exists()


def test_a_report_without_a_latency_says_so_where_one_is_needed():
    assert report_of(2.0).known_latency_ms == 2
    with pytest.raises(ReportError, match="must have a latency here, but got one that is comp"):
        _ = report_of(None, method="compiled").known_latency_ms


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.tflite", *RUN], "must be a readable file"),
        (RUN, "must come with the path of a .tflite file"),
        (["a.tflite", "--bench", "abacus"], "bench must be one of coral_board, edgetpu_compiler"),
        (["a.tflite", *RUN, "--threads", "0"], "threads must be from 1 to"),
        (["a.tflite", "--bench", "host_cpu", "--runs", "0"], "runs must be a number from 1 up"),
        (["a.tflite", *RUN, "--timeout", "0"], "timeout must be a positive time"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, arguments, message):
    assert main(["measure", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("hw: ") and error.count("\n") == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")
def test_a_model_that_fails_when_invoked_is_one_line_and_status_2(capsys):
    assert main(["measure", str(SHARED / "model_invoking_error.tflite"), *RUN]) == 2
    error = capsys.readouterr().err
    assert "must run in LiteRT" in error
    assert error.count("\n") == 1
