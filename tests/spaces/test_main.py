from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from spaces.__main__ import main
from spaces.menu import load_baselines, names_in
from spaces.space import Architecture


def _out(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_list_names_every_space(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _out(capsys, "list")
    assert [line.split()[0] for line in lines[1:]] == list(names_in("catalog"))


def test_show_totals_are_the_published_ones(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _out(capsys, "show", "mobilenet_edgetpu_v2", "tiny", "--classes", "1001")
    total = next(line for line in lines if line.startswith("total"))
    assert total.split()[1:] == ["512,449,280", "3,762,729"]
    assert "stage3/block0" in "".join(lines)


def test_show_uses_the_input_of_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    assert _out(capsys, "show", "efficientnet_edgetpu", "l")[0].endswith("input 300x300x3")
    shown = _out(capsys, "show", "efficientnet_edgetpu", "l", "--input", "64,64,3")
    assert shown[0].endswith("input 64x64x3")


def test_show_without_architecture_lists_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _out(capsys, "show", "mobilenet_v2")
    assert "stem/kernel" in {line.split()[0] for line in lines if line}
    assert lines[-1].startswith("baselines: w0.35")


@pytest.mark.parametrize("form", ["text", "decisions", "file"])
def test_show_reads_json(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = load_baselines("mobilenet_v2")["w0.5"]
    text = json.dumps(one.values) if form == "decisions" else one.to_json()
    if form == "file":
        path = tmp_path / "architecture.json"
        path.write_text(text)
        text = str(path)
    assert one.id in _out(capsys, "show", "mobilenet_v2", text)[0]


def test_sample_is_reproducible_and_readable(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (
        _out(capsys, "sample", "mobilenet_v2", "-n", "3", "--seed", "7") for _ in "ab"
    )
    assert first == second
    assert len({Architecture.from_json(line).id for line in first}) == 3


def test_sample_writes_csv(capsys: pytest.CaptureFixture[str]) -> None:
    plain = _out(capsys, "sample", "mobilenet_v2", "-n", "2")
    table = "\n".join(_out(capsys, "sample", "mobilenet_v2", "-n", "2", "--csv"))
    assert [row["architecture"] for row in csv.DictReader(io.StringIO(table))] == plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "resnet"], "a search space must be one of"),
        (["show", "mobilenet_v2", "w9"], "must be JSON or one of w0.35"),
        (["show", "mobilenet_v2", "{"], "an architecture must be JSON"),
        (["show", "mobilenet_v2", '{"decisions": [1]}'], "must be a JSON object"),
        (["show", "mobilenet_v2", "{}"], "stem/channels must be decided"),
        (["show", "mobilenet_v2", '{"space": "other", "decisions": {}}'], "belong to the space"),
        (
            ["show", "mobilenet_v2", "w0.5", "--input", "32"],
            "--input must be height,width,channels",
        ),
        (["show", "mobilenet_v2", "w0.5", "--input", "0,0,3"], "input_shape must be"),
        (["show", "mobilenet_v2", "w0.5", "--classes", "1"], "classes must be at least 2"),
        (["sample", "mobilenet_v2", "-n", "0"], "-n must be at least 1"),
        (["sample", "mobilenet_v2", "--seed", "-1"], "--seed at least 0"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err


def test_commands_do_without_heavy_imports() -> None:
    code = (
        "import sys; from spaces.__main__ import main; main(['list']); "
        "sys.exit(bool({'tensorflow', 'prefect', 'mlflow', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
