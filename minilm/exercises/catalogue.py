"""The list of all exercises: each file of `specs/` is one; `e10_attention.py` is number 10, `attention`.

The first line of a spec holds its title, its formulas, and an estimate of the work: `Scaled dot-product attention.  F18.  30
minutes, medium.` It is read without running the file, so that listing the exercises loads neither their specs nor torch.
"""

import ast
import difflib
import importlib
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from minilm.errors import InputError
from minilm.exercises.spec import Exercise

SPECS = Path(__file__).parent / "specs"
FILE = re.compile(r"e(\d\d)_(\w+)")  # the name of a spec and of the learner's file, without .py


class Entry(NamedTuple):
    """An exercise as the list shows it."""

    number: int
    name: str
    title: str
    formulas: tuple[str, ...]
    minutes: int  # an estimate, as the difficulty is: easy, medium or hard
    difficulty: str
    stem: str  # name of the spec's file and of the learner's, without .py


@cache
def entries() -> tuple[Entry, ...]:
    """All exercises, in the order of their numbers."""
    found = []
    for path in sorted(SPECS.glob("e[0-9][0-9]_*.py")):
        match = FILE.fullmatch(path.stem)
        assert match, f"{path.name} is not named like e01_softmax.py"
        number, name = match.groups()
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        parts = re.fullmatch(
            r"((?:(?!  ).)+)\.  (?:(F\d\d(?:, F\d\d)*)\.  )?(\d+) minutes, (easy|medium|hard)\.", first
        )
        assert parts, f"{path.name} begins with: {first}"
        title, ids, minutes, difficulty = parts.groups()
        found.append(
            Entry(int(number), name, title, tuple(ids.split(", ")) if ids else (), int(minutes), difficulty, path.stem)
        )
    return tuple(found)


def find(asked: str) -> Entry:
    """The exercise with that name, number (`3`) or file name (`e03_cross_entropy.py`). Raises InputError if there is none."""
    asked = re.split(r"[/\\]", asked)[-1].removesuffix(".py")
    for entry in entries():
        if asked in (entry.name, entry.stem, str(entry.number), f"{entry.number:02}"):
            return entry
    names = [entry.name for entry in entries()]
    close = difflib.get_close_matches(asked.lower(), names, n=2)
    meant = f"did you mean {' or '.join(close)}?" if close else "`minilm exercise list` shows them all."
    raise InputError(f"there is no exercise '{asked}': {meant}")


@cache
def load(name: str) -> Exercise:
    """The exercise of that name; its `Entry` comes from its file's name and first line. Raises InputError."""
    entry = find(name)
    exercise = importlib.import_module(f"minilm.exercises.specs.{entry.stem}").EXERCISE
    return replace(exercise, **{name: value for name, value in entry._asdict().items() if name != "stem"})


def next_entry(name: str) -> Entry | None:
    """The exercise that comes after `name`, or None after the last one."""
    names = [entry.name for entry in entries()]
    following = entries()[names.index(name) + 1 :]
    return following[0] if following else None
