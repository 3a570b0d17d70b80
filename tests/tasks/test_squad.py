import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.data.dataset import DataError, Source
from tasks.data.remarks import tell
from tasks.formats import squad
from tasks.kinds.question_answering import ANSWER_CUT, CONTEXT_CUT, QUESTION_CUT
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_npz

SHARED = Path(__file__).parents[2].parent / "shared" / "datasets"
CONTEXT = "A table for Zoë Müller: number {} at half-past 8pm, please."


def ask(number: str, question: str, answers: list[Any], **more: Any) -> dict[str, Any]:
    return {"id": number, "question": question, "answers": answers, **more}


def found(context: str, text: str) -> dict[str, Any]:
    return {"text": text, "answer_start": context.index(text)}


def paragraph(index: int) -> dict[str, Any]:
    context = CONTEXT.format(index)
    questions = [
        ask(f"{index}-name", "Who?", [found(context, "Zoë Müller")]),
        ask(
            f"{index}-time", "When is it?", [found(context, "half-past 8pm"), found(context, "8")]
        ),
    ]
    return {"context": context, "qas": questions}


def tree(indices: range = range(10)) -> dict[str, Any]:
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [*map(paragraph, indices)]}]}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(None, tmp_path / "run")


def prepare(source: Path, workspace: Workspace, **changes: object) -> dict[str, Any]:
    params = {"format": "squad", "source": str(source), "sequence_length": 40, **changes}
    return run(DataParams.model_validate(params), workspace, SilentProgress())


def test_spans_and_offsets_lead_back_to_the_answer(tmp_path: Path, workspace: Workspace) -> None:
    manifest = prepare(write(tmp_path / "all.json", tree()), workspace)
    assert manifest["problem"] == "question_answering" and manifest["classes"] == []
    assert manifest["token_types"] == 2 and not manifest["skipped"]
    vocabulary = (workspace.data / "vocabulary.txt").read_text().splitlines()
    for split in manifest["splits"]:
        arrays = read_npz(workspace.data / f"{split}.npz")
        for row in range(len(arrays["tokens"])):
            each = {name: array[row] for name, array in arrays.items()}
            first, last = each["spans"]
            start, end = each["offsets"][first][0], each["offsets"][last][1]
            context = str(each["contexts"])
            assert context[start:end] == json.loads(str(each["answers"]))[0]
            tokens = [vocabulary[token] for token in each["tokens"]]
            assert tokens[0] == "[CLS]" and tokens.count("[SEP]") == 2
            middle, stop = (n for n, token in enumerate(tokens) if token == "[SEP]")
            inside = np.arange(40)
            np.testing.assert_array_equal(each["types"] == 1, (inside > middle) & (inside <= stop))
            in_context = (inside > middle) & (inside < stop)
            np.testing.assert_array_equal((each["offsets"] >= 0).all(1), in_context)
            assert not each["tokens"][stop + 1 :].any()


def test_all_answers_are_accepted(tmp_path: Path, workspace: Workspace) -> None:
    prepare(write(tmp_path / "all.json", tree()), workspace)
    answers = read_npz(workspace.data / "train.npz")["answers"]
    assert {str(a) for a in answers} == {'["Zoë Müller"]', '["half-past 8pm", "8"]'}


def test_carving_keeps_a_context_together(tmp_path: Path, workspace: Workspace) -> None:
    manifest = prepare(write(tmp_path / "all.json", tree()), workspace)
    contexts = [
        set(read_npz(workspace.data / f"{split}.npz")["contexts"]) for split in manifest["splits"]
    ]
    assert [len(each) for each in contexts] == [6, 2, 2]
    assert len(set.union(*contexts)) == 10


@pytest.mark.parametrize("names", [("train", "dev"), ("train-v1.1", "dev-v1.1")])
def test_files_of_splits(tmp_path: Path, workspace: Workspace, names: tuple[str, str]) -> None:
    for name, indices in zip(names, (range(6), range(6, 9)), strict=True):
        write(tmp_path / "x" / f"{name}.json", tree(indices))
    manifest = prepare(tmp_path / "x", workspace, test_fraction=0.0)
    assert {s: part["items"] for s, part in manifest["splits"].items()} == {
        "train": 12,
        "validation": 6,
    }


HERE = CONTEXT.format(99)


@pytest.mark.parametrize(
    ("entry", "reasons"),
    [
        (ask("x", "Who?", [], is_impossible=True), [squad.IMPOSSIBLE]),
        (ask("x", "Who?", []), [squad.IMPOSSIBLE]),
        (ask("x", "Who?", [], is_impossible=False), [squad.UNANSWERED]),
        (
            ask("x", "Who?", [{"text": "Zoë", "answer_start": 3}]),
            [squad.MISPLACED, squad.UNANSWERED],
        ),
        (
            ask("x", "Who?", [{"text": "zoë", "answer_start": HERE.index("Zoë")}]),
            [squad.MISPLACED, squad.UNANSWERED],
        ),
        (
            ask("x", "Who?", [{"text": ".", "answer_start": -1}]),
            [squad.MISPLACED, squad.UNANSWERED],
        ),
        (
            ask("x", "Who?", [{"text": " ", "answer_start": 1}]),
            [squad.EMPTY_ANSWER, squad.UNANSWERED],
        ),
        (ask("x", "  ", [found(HERE, "Zoë")]), [squad.EMPTY]),
        (ask("3-name", "Who?", [found(HERE, "Zoë")]), [squad.REPEATED]),
    ],
)
def test_bad_questions_are_counted(
    tmp_path: Path, workspace: Workspace, entry: dict[str, Any], reasons: list[str]
) -> None:
    content = tree()
    content["data"][0]["paragraphs"].append({"context": HERE, "qas": [entry]})
    manifest = prepare(write(tmp_path / "all.json", content), workspace)
    assert manifest["skipped"] == {
        reason: {"count": 1, "names": [f"all.json {entry['id']}"]} for reason in reasons
    }
    assert sum(part["items"] for part in manifest["splits"].values()) == 20


def test_questions_that_are_meant_to_have_no_answer_are_no_loss(
    tmp_path: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    content = tree()
    for number, each in enumerate(content["data"][0]["paragraphs"]):
        plausible = [found(each["context"], "8pm")]
        hidden = ask(f"{number}-no", "Why?", [], is_impossible=True, plausible_answers=plausible)
        each["qas"].append(hidden)
    manifest = prepare(write(tmp_path / "all.json", content), workspace)
    assert sum(part["items"] for part in manifest["splits"].values()) == 20
    assert manifest["skipped"][squad.IMPOSSIBLE]["count"] == 10 and not manifest["lost"]
    tell("prepare", manifest)
    assert f"10 times {squad.IMPOSSIBLE}, first all.json 0-no." in capsys.readouterr().out


def test_a_file_of_nothing_but_such_questions_says_so(
    tmp_path: Path, workspace: Workspace
) -> None:
    entry = ask("x", "Who?", [], is_impossible=True)
    content = {"data": [{"paragraphs": [{"context": HERE, "qas": [entry]}]}]}
    with pytest.raises(DataError, match=r"it has no answer \(version 2\)"):
        prepare(write(tmp_path / "all.json", content), workspace)


def test_one_good_answer_of_two_is_enough(tmp_path: Path, workspace: Workspace) -> None:
    content = tree()
    answers = [{"text": "Zoë", "answer_start": 0}, found(HERE, "Zoë Müller")]
    content["data"][0]["paragraphs"].append({"context": HERE, "qas": [ask("x", "Who?", answers)]})
    manifest = prepare(write(tmp_path / "all.json", content), workspace)
    assert manifest["skipped"] == {squad.MISPLACED: {"count": 1, "names": ["all.json x"]}}
    assert sum(part["items"] for part in manifest["splits"].values()) == 21


def test_what_is_too_long_is_cut_and_counted(tmp_path: Path, workspace: Workspace) -> None:
    manifest = prepare(write(tmp_path / "all.json", tree()), workspace, sequence_length=12)
    skipped = manifest["skipped"]
    assert skipped[CONTEXT_CUT]["count"] == 20 and skipped[ANSWER_CUT]["count"] == 10
    assert QUESTION_CUT not in skipped
    train = read_npz(workspace.data / "train.npz")
    lost = train["spans"][:, 0] < 0
    assert (train["spans"][lost] == -1).all() and lost.sum() == 6
    assert (train["spans"][~lost] < 12).all()


def test_long_question_leaves_half_to_the_context(tmp_path: Path, workspace: Workspace) -> None:
    content = tree()
    for each in content["data"][0]["paragraphs"]:
        each["qas"][0]["question"] = "who is it " * 20
    source = write(tmp_path / "all.json", content)
    manifest = prepare(source, workspace, sequence_length=20)
    assert manifest["skipped"][QUESTION_CUT]["count"] == 10
    train = read_npz(workspace.data / "train.npz")
    long = [str(question).startswith("who") for question in train["questions"]]
    assert ((train["types"] == 1).sum(1)[long] == 10).all() and sum(long) == 6


def test_nothing_within_the_sequence_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    content = tree()
    for each in content["data"][0]["paragraphs"]:
        del each["qas"][0]
    with pytest.raises(DataError, match=r"got none there with data.sequence_length 8"):
        prepare(write(tmp_path / "all.json", content), workspace, sequence_length=8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "all.json must be JSON, but got"),
        ("[]", r"laid out as SQuAD, but what should hold data is \[\]"),
        ('{"data": [{"title": "a"}]}', "laid out as SQuAD, but paragraphs is missing, not a list"),
        (
            '{"data": [{"paragraphs": [{"context": 3, "qas": []}]}]}',
            "but context is 3, not text, in",
        ),
        ('{"data": []}', "must have questions that can be used, but got none in train"),
        ('{"data": [{"paragraphs": [{"context": "\\ud800", "qas": []}]}]}', "with a UTF-8 form"),
    ],
)
def test_bad_json_is_explained(
    tmp_path: Path, workspace: Workspace, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepare(write(tmp_path / "all.json", content), workspace)


@pytest.mark.skipif(not SHARED.exists(), reason="the data sets are not beside the checkout")
def test_restaurants(workspace: Workspace) -> None:
    manifest = prepare(SHARED / "restaurant8k", workspace, sequence_length=64, test_fraction=0.0)
    assert {s: part["items"] for s, part in manifest["splits"].items()} == {
        "train": 6807,
        "validation": 781,
    }
    assert manifest["duplicates"]["dropped_from_train"] == 47 and not manifest["skipped"]


SMILES = "\N{GRINNING FACE}\N{GRINNING FACE} Zoë is here."


@pytest.mark.parametrize(
    ("units", "moved"),
    [
        (lambda text: len(text), False),
        (lambda text: len(text.encode("utf-16-le")) // 2, True),
        (lambda text: len(text.encode()), True),
    ],
)
@pytest.mark.parametrize("answer", ["Zoë", "is here"])
def test_places_in_other_units_are_moved(
    tmp_path: Path, units: Callable[[str], int], moved: bool, answer: str
) -> None:
    content = tree()
    start = units(SMILES[: SMILES.index(answer)])
    entry = ask("x", "Who?", [{"text": answer, "answer_start": start}])
    content["data"][0]["paragraphs"].append({"context": SMILES, "qas": [entry]})
    raw = squad.read(Source(str(write(tmp_path / "all.json", content))))
    sample: Any = raw.splits["train"][-1]
    assert sample.start == SMILES.index(answer)
    assert raw.skipped["train"] == ({squad.MOVED: ["all.json x"]} if moved else {})


def test_a_file_of_no_split_is_named(tmp_path: Path) -> None:
    for name in ("train.json", "more.json"):
        write(tmp_path / name, tree())
    raw = squad.read(Source(str(tmp_path)))
    assert raw.skipped["train"] == {squad.NO_SPLIT: ["more.json"]}
