from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.data.dataset import DataError, Source
from tasks.formats import csv_text
from tasks.kinds.text_classification import CUT
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_npz

SHARED = Path(__file__).parents[2].parent / "shared" / "datasets"
GREET = "hello good morning evening dear friend".split()
LEAVE = "goodbye see you soon later then".split()


def rows(count: int = 12, offset: int = 0) -> str:
    """Texts of two labels in turn, all different."""
    lines = []
    for index in range(offset, offset + count):
        words, label = ((GREET, "greet"), (LEAVE, "leave"))[index % 2]
        lines.append(f"{words[index % 6]} {words[index // 6 % 6]} number {index},{label}\n")
    return "".join(lines)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("text,label\n" + rows())
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(None, tmp_path / "run")


def prepare(source: Path, workspace: Workspace, **changes: object) -> dict[str, Any]:
    params = {"format": "csv_text", "source": str(source), "sequence_length": 12, **changes}
    return run(DataParams.model_validate(params), workspace, SilentProgress())


def test_tokens_labels_and_vocabulary_agree(file: Path, workspace: Workspace) -> None:
    manifest = prepare(file, workspace, sequence_length=32)
    assert manifest["problem"] == "text_classification" and manifest["input_shape"] == [1, 32]
    assert manifest["classes"] == ["greet", "leave"] and manifest["token_types"] == 0
    vocabulary = (workspace.data / "vocabulary.txt").read_text().splitlines()
    assert vocabulary[:4] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    assert len(vocabulary) == len(set(vocabulary)) == manifest["vocabulary_size"]
    train = read_npz(workspace.data / "train.npz")
    assert set(train) == {"tokens", "labels", "texts"} and train["tokens"].dtype == np.int32
    for tokens, text in zip(train["tokens"], train["texts"], strict=True):
        used = [vocabulary[token] for token in tokens if token]
        assert used[0] == "[CLS]" and used[-1] == "[SEP]" and not tokens[len(used) :].any()
        joined = "".join(t.removeprefix("##") for t in used[1:-1])
        assert joined == str(text).replace(" ", "")
    assert [str(text).split()[0] in GREET for text in train["texts"]] == list(train["labels"] == 0)


def test_carving_is_by_label(file: Path, workspace: Workspace) -> None:
    manifest = prepare(file, workspace)
    for part in manifest["splits"].values():
        counts = part["texts_per_class"]
        assert counts["greet"] == counts["leave"] > 0


@pytest.mark.parametrize(
    "header", ["text,label", "\ufefftext,label", "Label;id;TEXT", "label\ttext", '"text","label"']
)
def test_headers(tmp_path: Path, header: str) -> None:
    (tmp_path / "train.csv").write_text(
        {
            ";": f"{header}\nyes;1;a, b\nno;2;c\n",
            "\t": f"{header}\nyes\ta, b\nno\tc\n",
        }.get(header[5], f'{header}\n"a, b",yes\r\nc,no\r\n'),
        encoding="utf-8",
    )
    raw = csv_text.read(Source(str(tmp_path)))
    assert raw.classes == ("no", "yes")
    texts = [(s.text, s.label) for s in raw.splits["train"]]  # type: ignore[union-attr]
    assert texts == [("a, b", 1), ("c", 0)]


def test_a_text_may_hold_quotes_and_lines(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('text,label\n"one ""big""\nday",a\nétude,b\n', "utf-8")
    texts = [s.text for s in csv_text.read(Source(str(tmp_path))).splits["train"]]  # type: ignore[union-attr]
    assert texts == ['one "big"\nday', "étude"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_files_of_spreadsheets(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["Text\tLabel", "Grüße; bis, bald\tbye", '"a ""b"""\thello', ""]
    (tmp_path / "a.csv").write_bytes(end.join(lines).encode(encoding))
    raw = csv_text.read(Source(str(tmp_path / "a.csv")))
    samples: Any = raw.splits["train"]
    assert [sample.text for sample in samples] == ["Grüße; bis, bald", 'a "b"']
    assert raw.classes == ("bye", "hello") and not raw.skipped["train"]


def test_bad_rows_are_counted(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "x").mkdir()
    more = ' ,greet\nnobody home,\nonly one cell\n"",leave\n\n'
    (tmp_path / "x" / "train.csv").write_text("text,label\n" + rows() + more)
    (tmp_path / "x" / "dev.csv").write_text("text,label\n" + rows(4, 20) + "oh,strange\n")
    manifest = prepare(tmp_path / "x", workspace, test_fraction=0.0, allowed_loss=0.25)
    assert manifest["skipped"] == {
        csv_text.EMPTY_TEXT: {"count": 2, "names": ["train.csv line 14", "train.csv line 17"]},
        csv_text.EMPTY_LABEL: {"count": 2, "names": ["train.csv line 15", "train.csv line 16"]},
        csv_text.UNKNOWN_LABEL: {"count": 1, "names": ["dev.csv line 6"]},
    }
    assert {s: part["items"] for s, part in manifest["splits"].items()} == {
        "train": 12,
        "validation": 4,
    }


def test_long_text_is_cut_and_counted(file: Path, workspace: Workspace) -> None:
    with file.open("a") as stream:
        stream.write("hello " * 30 + ",greet\n")
    manifest = prepare(file, workspace, sequence_length=24)
    assert manifest["skipped"][CUT] == {"count": 1, "names": ["mine.csv line 14"]}
    end = manifest["vocabulary_size"]
    for split in manifest["splits"]:
        tokens = read_npz(workspace.data / f"{split}.npz")["tokens"]
        assert tokens.shape[1] == 24 and ((tokens >= 0) & (tokens < end)).all()
        assert ((tokens == 2).sum(1) == 1).all() and ((tokens == 3).sum(1) == 1).all()


def test_train_loses_what_is_held_out_and_labels_may_lack_there(
    tmp_path: Path, workspace: Workspace
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "train.csv").write_text("text,label\n" + rows())
    (tmp_path / "x" / "val.csv").write_text("text,label\n" + rows(1))
    manifest = prepare(tmp_path / "x", workspace, test_fraction=0.0)
    assert manifest["duplicates"]["dropped_from_train"] == 1
    assert manifest["classes_missing"] == {"validation": ["leave"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "must have the columns text and label, but its first line is 'a,b'"),
        (b"", "must have the columns text and label, but its first line is ''"),
        (b"text,text,label\n", "must have the columns text and label"),
        (b"text,label\ncaf\xe9,a\n", "mine.csv must be UTF-8, but got the byte 0xe9 at 14"),
        (b"\xff\xfet\x00e", "mine.csv must be UTF-16 as its mark says, but got the byte 0x65 at"),
        (b'text,label\n"open,a\n', "mine.csv must be CSV, but got in line 2: unexpected end"),
        (b'text,label\n"a"b,a\n', "mine.csv must be CSV, but got in line 2: ',' expected after"),
        (b"text,label\n", "must have at least 2 classes, but got none"),
        (b"text,label\na,x\nb,x\n", "must have at least 2 classes, but got x"),
        (
            b"text,label\na,x\nb,y\nc,y\nd,y\n",
            "class x must have at least 3 texts in train to carve test and validation",
        ),
    ],
)
def test_bad_csv_is_explained(
    file: Path, workspace: Workspace, content: bytes, message: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepare(file, workspace)


def test_folder_without_train(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text,label\n")
    with pytest.raises(DataError, match=r"must have train.csv, but got test.csv"):
        csv_text.check(Source(str(tmp_path)))
    (tmp_path / "train.csv").write_text("text,label\n")
    (tmp_path / "train.tsv").write_text("text\tlabel\n")
    with pytest.raises(DataError, match=r"one file for train, but got train.csv and train.tsv"):
        csv_text.check(Source(str(tmp_path)))


@pytest.mark.skipif(not SHARED.exists(), reason="the data sets are not beside the checkout")
def test_clinc(workspace: Workspace) -> None:
    manifest = prepare(SHARED / "clinc150", workspace, sequence_length=40, test_fraction=0.0)
    assert {s: part["items"] for s, part in manifest["splits"].items()} == {
        "train": 14997,
        "validation": 3000,
    }
    assert len(manifest["classes"]) == 150 and not manifest["skipped"]


def test_rows_with_more_cells_than_the_header_are_no_labels(
    tmp_path: Path, workspace: Workspace
) -> None:
    """Commas in a text without quotes: nobody can tell where the text ends."""
    (tmp_path / "a.csv").write_text(
        "text,label\n" + rows(40) + "well, indeed,greet\na, b, c,leave\n"
    )
    manifest = prepare(tmp_path / "a.csv", workspace)
    assert manifest["classes"] == ["greet", "leave"]
    assert manifest["skipped"] == {
        csv_text.TOO_LONG: {"count": 2, "names": ["a.csv line 42", "a.csv line 43"]}
    }


def test_many_such_rows_stop_the_run(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + rows() + "well, indeed,greet\n" * 6)
    with pytest.raises(DataError, match=r"6 of 18 rows of train are lost: 6 times 'row skipped: "):
        prepare(tmp_path / "a.csv", workspace)


@pytest.mark.parametrize("tail", [",", ",,  ,", ", "])
def test_empty_cells_behind_the_last_count_for_nothing(tmp_path: Path, tail: str) -> None:
    (tmp_path / "a.csv").write_text(f"text,label\nhello,greet{tail}\nbye,leave\n")
    raw = csv_text.read(Source(str(tmp_path / "a.csv")))
    assert len(raw.splits["train"]) == 2 and not raw.skipped["train"]


def test_labels_with_signs_in_two_forms_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,Gr\u00fcn\nb,Gru\u0308n\nc,rot\n", "utf-8")
    assert csv_text.read(Source(str(tmp_path / "a.csv"))).classes == ("Gr\u00fcn", "rot")


def test_a_file_of_no_split_is_named(tmp_path: Path) -> None:
    for name in ("train.csv", "part two.csv", "README.md", ".old.csv"):
        (tmp_path / name).write_text("text,label\n" + rows())
    raw = csv_text.read(Source(str(tmp_path)))
    assert raw.skipped["train"] == {csv_text.NO_SPLIT: ["part two.csv"]}
