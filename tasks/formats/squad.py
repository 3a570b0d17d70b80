"""Questions with answers in their context, as SQuAD keeps them (JSON, versions 1.1 and 2.0).

Either a folder with ``<split>.json`` (``train``, ``validation`` or ``dev``, ``val``, ``valid``;
``test``; also ``train-v1.1.json``), or one file. Questions of version 2 that have no answer are
left out and counted: a network here always points at a place in the context, so that nothing can
be learned from them. They are as their author meant them, and no loss. ``answer_start`` counts
characters; where the answer does not stand there, but does if UTF-16 units or bytes of UTF-8 are
counted, as other languages do, it is moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.data.dataset import SPLITS, QuestionSample, RawData, Source, Split
from tasks.data.files import NO_SPLIT, JsonFile, files_of_no_split, split_files

KIND = "question_answering"

IMPOSSIBLE = "question left out: it has no answer (version 2), and networks here always give one"
UNANSWERED = "question skipped: none of its answers stands in the context at answer_start"
EMPTY_ANSWER = "answer skipped: it is empty"
MISPLACED = "answer skipped: its text is not in the context at answer_start"
MOVED = "answer moved: answer_start counts UTF-16 units or bytes, not characters"
EMPTY = "question skipped: it, or its context, is empty"
REPEATED = "question skipped: another one has its id"


def read(source: Source) -> RawData:
    """Read the questions.

    Raises:
        DataError: There is no such file, it is no JSON or not laid out as SQuAD.
    """
    root = source.path("a folder with train.json, or a .json file")
    files = split_files(root, (".json",))
    skipped: dict[Split, dict[str, list[str]]] = {split: {} for split in files}
    splits: dict[Split, tuple[QuestionSample, ...]] = {
        split: tuple(_questions(files[split], skipped[split]))
        for split in SPLITS
        if split in files
    }
    if others := files_of_no_split(root, (".json",)):
        skipped["train"][NO_SPLIT] = others
    return RawData(root.resolve().name, (), splits, kind=KIND, skipped=skipped)


def check(source: Source) -> RawData:
    """As :func:`read`: text is read in a moment."""
    return read(source)


def _questions(path: Path, skipped: dict[str, list[str]]) -> Iterator[QuestionSample]:
    """The usable questions of one file; the others are noted."""
    file = JsonFile(path, "SQuAD")
    seen: set[str] = set()
    for context, entry in _entries(file):
        question = str(file.get(entry, "question", str))
        identity = str(file.get(entry, "id", (str, int)))
        name = f"{path.name} {identity}"
        reason, answers = _answers(file, context, entry, name, skipped)
        if identity in seen:
            reason = REPEATED
        elif not question.strip() or not context.strip():
            reason = EMPTY
        seen.add(identity)
        if reason:
            skipped.setdefault(reason, []).append(name)
            continue
        texts = tuple(dict.fromkeys(text for text, _ in answers))
        yield QuestionSample(name, question, context, texts, answers[0][1])


def _entries(file: JsonFile) -> Iterator[tuple[str, Any]]:
    """Context and entry of each question."""
    for article in file.get(file.tree, "data", list):
        for paragraph in file.get(article, "paragraphs", list):
            context = file.get(paragraph, "context", str)
            for entry in file.get(paragraph, "qas", list):
                yield context, entry


def _answers(
    file: JsonFile, context: str, entry: Any, name: str, skipped: dict[str, list[str]]
) -> tuple[str, list[tuple[str, int]]]:
    """Why there is no answer, else nothing; and the answers with their places."""
    # Without the mark an empty list says the same; beside "is_impossible": false it is a mistake.
    if entry.get("is_impossible", entry.get("answers") == []) is True:
        return IMPOSSIBLE, []
    usable: list[tuple[str, int]] = []
    for answer in file.get(entry, "answers", list):
        text, start = file.get(answer, "text", str), file.get(answer, "answer_start", int)
        if not text.strip():
            skipped.setdefault(EMPTY_ANSWER, []).append(name)
        elif (place := _place(context, start, text)) is None:
            skipped.setdefault(MISPLACED, []).append(name)
        else:
            usable.append((text, place))
            if place != start:
                skipped.setdefault(MOVED, []).append(name)
    return ("" if usable else UNANSWERED), usable


def _place(context: str, start: int, text: str) -> int | None:
    """Where in a context an answer begins, in characters; None if it does not stand there.

    >>> smile = chr(0x1F600)  # two units of UTF-16, four bytes of UTF-8
    >>> [_place(f"{smile} here", start, "here") for start in (2, 3, 5, 4)]
    [2, 2, 2, None]
    """
    if start < 0:
        return None
    places = [start]
    if not context.isascii():
        for encoding, bytes_a_unit in (("utf-16-le", 2), ("utf-8", 1)):
            before = context.encode(encoding)[: bytes_a_unit * start]
            places.append(len(before.decode(encoding, "ignore")))
    return next((place for place in places if context[place:].startswith(text)), None)
