"""Tables of every task, and questions with answers: read by minilm, and by `csv`, pandas and `json` as referees."""

import csv
import importlib
import io
import json
import re
import warnings
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from minilm.bench.fuzzing.target import Case, Target
from minilm.files.notes import Note
from minilm.text.characters import shows, tidy, visible
from minilm.text.files import DELIMITERS, Example
from minilm.text.questions import Question, question_lines
from minilm.text.relations import marked
from minilm.text.tables import column_documents, labelled_file

WORDS = (
    "a fine film",
    "bad",
    "well, then",
    'the 5" disk',
    "1999",
    "电影 很好",
    "don't",
    "élan",
    "I\u2028you",
    "so-so",
    "x;y",
)
TASKS = ("classes", "labels", "number", "relations", "unlabelled", "documents")
LINE_END = re.compile("\r\n|\r|\n")


def task_of(number: int) -> str:
    return TASKS[number % len(TASKS)]


def rows_of(rng: Random, task: str) -> list[dict[str, str]]:
    """Rows that are right for the task. Each text begins with a number of its own, so that a lost row is seen."""
    rows = []
    for i in range(rng.choice((1, 2, 5, 30))):
        words = " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))
        text = f"{i} <e1>{words}</e1> in <e2>Bonn</e2>." if task == "relations" else f"{i} {words}"
        label = rng.choice(("yes", "no"))
        if task == "labels":
            label = rng.choice(("red", "red;blue", "", "green; blue"))
        elif task == "number":
            label = rng.choice(("3", "-0.5", "1e3", " 7 "))
        rows.append({"text": text, "pair": f"pair {i}, {words}", "label": label})
    return rows


def make_table(folder: Path, number: int, suffix: str) -> None:
    rng = Random(number)
    rows, names = rows_of(rng, task_of(number)), rng.sample(("text", "pair", "label"), 3)
    if rng.random() < 0.3:
        rows[-1]["text"] = rows[-1]["text"].replace("film", "film\n\nof")  # a text of three lines
    out = io.StringIO(newline="")
    quoting: Any = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    end = "\n" if any("\n" in row["text"] for row in rows) else rng.choice(("\n", "\r\n", "\r"))
    writer = csv.DictWriter(out, names, delimiter=DELIMITERS[suffix], lineterminator=end, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    (folder / f"table{suffix}").write_bytes(b"\xef\xbb\xbf" * rng.randint(0, 1) + out.getvalue().encode())


def make_json(folder: Path, number: int) -> None:
    rng, lines = Random(number), []
    for row in rows_of(rng, task_of(number)):
        given: dict[str, Any] = dict(row)
        if task_of(number) == "labels" and rng.random() < 0.5:
            given["label"] = [part.strip() for part in row["label"].split(";") if part]
        elif task_of(number) == "number" and rng.random() < 0.5:
            given["label"] = float(row["label"])
        lines.append(json.dumps(given, ensure_ascii=rng.random() < 0.5))
    (folder / "table.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_table(case: Case, note: Note) -> list[Example] | list[list[str]]:
    (path,) = case.folder.iterdir()
    task = task_of(case.number)
    if task == "documents":
        return list(column_documents(path, note=note))
    holds = {"labels": "labels", "number": "number"}.get(task, "text")
    label, pair = None if task == "unlabelled" else "label", "pair" if task == "classes" else None
    found = list(labelled_file(path, "text", label, pair, note, holds))
    if task == "relations":
        for i, each in enumerate(found):
            marked(each.text, "@#", f"{path}, example {i + 1}")
    return found


# ---- the referees


def lost_of_table(case: Case, found: list[Any], notes: list[str]) -> str:
    """What `csv` in its strict mode or pandas read, and we did not; and, if the damage is in quotation marks alone, what the
    right table held."""
    (path,) = case.folder.iterdir()
    task, delimiter = task_of(case.number), DELIMITERS[path.suffix]
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter=delimiter, strict=True) if row]
    names = [tidy(name) for name in next(row for row in rows if any(map(visible, row)))]
    rows = rows[rows.index(next(row for row in rows if any(map(visible, row)))) + 1 :]
    wanted = [
        names.index(name) for name in ("text", "pair", "label")[: 1 if task == "documents" else 3] if name in names
    ]
    if len(names) > 1:
        rows = [row for row in rows if len(row) > 1 or any(map(visible, row))]
    if difference := unlike([[row[i] for i in wanted] for row in rows], [names[i] for i in wanted], found, "csv"):
        return difference
    frame = by_pandas(path, delimiter)
    column = next((name for name in frame if tidy(str(name)) == "text"), None) if frame is not None else None
    if column is not None and (difference := unlike([[cell] for cell in frame[column]], ["text"], found, "pandas")):
        return difference
    if case.damages and all(each.kind == "a mark" for each in case.damages):
        right = case.before[path.name].decode("utf-8-sig")
        before = [row for row in csv.reader(io.StringIO(right, newline=""), delimiter=delimiter) if row][1:]
        if len(before) != len(found):
            return f"the table had {len(before)} rows before quotation marks came or went, and has {len(found)} now"
    return ""


def unlike(rows: list[list[str]], names: list[str], found: list[Any], referee: str) -> str:
    """The first difference between the cells that a referee reads and ours."""
    if len(rows) != len(found):
        return f"{referee} reads {len(rows)} rows, and minilm {len(found)}"
    for i, (row, ours) in enumerate(zip(rows, found, strict=True)):
        for name, cell in zip(names, row, strict=True):
            if not isinstance(ours, Example):
                if name == "text" and seen(cell) != seen("".join(ours)):
                    return f"row {i + 1}: {referee} reads the text {cell[:60]!r}, and minilm {''.join(ours)[:60]!r}"
            elif getattr(ours, name) is not None and bare(getattr(ours, name), name) != bare(cell, name):
                return f"row {i + 1}: {referee} reads {name} {cell[:60]!r}, and minilm {getattr(ours, name)[:60]!r}"
    return ""


def seen(text: str) -> str:
    """What can be seen of a text, without spaces."""
    return "".join(c for c in text if shows(c))


def bare(cell: str, name: str) -> str:
    """A cell as it is compared: a label loses what is around it, and around each of several."""
    return ";".join(tidy(part) for part in cell.split(";") if visible(part)) if name == "label" else cell


def by_pandas(path: Path, delimiter: str) -> Any:
    """The table as pandas reads it. None if it refuses, or where it is known to lose a cell: an empty one at the beginning of a row,
    behind an empty line, if lines end in a carriage return alone."""
    if b"\r\r" + delimiter.encode() in path.read_bytes():
        return None
    pandas = importlib.import_module("pandas")  # it brings no types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            how = dict(dtype=str, keep_default_na=False, index_col=False, encoding="utf-8")
            frame = pandas.read_csv(path, sep=delimiter, **how)
            return frame[[any(visible(str(cell)) for cell in row) for row in frame.fillna("").itertuples(index=False)]]
        except (ValueError, OverflowError, RecursionError):  # its own errors are ValueErrors
            return None


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, by `json` alone."""
    text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    return [json.loads(line.removeprefix("\ufeff")) for line in LINE_END.split(text) if visible(line)]


def lost_of_json(case: Case, found: list[Any], notes: list[str]) -> str:
    rows = json_lines(case.folder / "table.jsonl")
    names = [name for name in ("text", "pair", "label") if all(name in map(tidy, row) for row in rows)]
    cells = [[written({tidy(key): value for key, value in row.items()}[name]) for name in names] for row in rows]
    return unlike(cells, names, found, "json")


def written(value: Any) -> str:
    """A JSON value as a cell of a table would hold it."""
    if isinstance(value, list):
        return ";".join(map(str, value))
    return repr(value) if isinstance(value, float) else str(value)


# ---- questions


def make_questions(folder: Path, number: int) -> None:
    rng, lines = Random(number), []
    for i in range(rng.choice((1, 3, 9))):
        answer = rng.choice(WORDS)
        row: dict[str, Any] = {"question": f"{i}?", "text": f"{i} {answer} 。", "answer": answer}
        if rng.random() < 0.5:
            row["start"] = row["text"].index(answer)
        lines.append(json.dumps(row, ensure_ascii=rng.random() < 0.5))
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_questions(case: Case, note: Note) -> list[Question]:
    return list(question_lines(case.folder / "questions.jsonl", with_answers=case.number % 4 > 0))


def lost_of_questions(case: Case, found: list[Question], notes: list[str]) -> str:
    rows = json_lines(case.folder / "questions.jsonl")
    if len(rows) != len(found):
        return f"json reads {len(rows)} questions, and minilm {len(found)}"
    for row, ours in zip(rows, found, strict=True):
        if (row["question"], row["text"]) != (ours.question, ours.text):
            return f"json reads {str(row)[:80]}, and minilm {str(ours)[:80]}"
        if ours.answer is not None and ours.start is not None and not ours.text[ours.start :].startswith(ours.answer):
            return f"the answer {ours.answer[:40]!r} does not stand at {ours.start}"
    return ""


TARGETS = (
    Target("csv", partial(make_table, suffix=".csv"), read_table, lost_of_table),
    Target("tsv", partial(make_table, suffix=".tsv"), read_table, lost_of_table),
    Target("json-lines", make_json, read_table, lost_of_json),
    Target("questions", make_questions, read_questions, lost_of_questions),
)
