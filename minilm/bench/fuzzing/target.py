"""What a campaign reads: a way to make right inputs, a reader, and a referee that says what the reader has lost."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from minilm.bench.fuzzing.damage import Damage, damaged
from minilm.errors import InputError
from minilm.files.notes import Note


class Case(NamedTuple):
    """An input: its files before and after the damage, by their paths in the folder where the latter lie, and a number that
    says what else was chosen (a task, a column, a setting)."""

    before: dict[str, bytes]
    after: dict[str, bytes]
    damages: list[Damage]
    folder: Path
    number: int


Read = Callable[[Case, Note], Any]
Lost = Callable[[Case, Any, list[str]], str]


def nothing_to_compare(case: Case, found: Any, notes: list[str]) -> str:
    return ""


@dataclass(frozen=True)
class Target:
    """`make` writes the right input of a number into an empty folder; `read` reads it, as the commands do; `lost` says, in one
    sentence, what of a file that was read is not in the result and in no note ("": nothing). `right`: how many inputs are made."""

    name: str
    make: Callable[[Path, int], None]
    read: Read
    lost: Lost = nothing_to_compare
    right: int = 60
    names_file: bool = True
    """Whether a refusal must name the file."""
    settle: Callable[[Case], None] | None = None
    """What a stranger would still do after the damage, such as writing checksums that fit it."""
    writes: str = ""
    """A folder beside the input in which the reader may write, and which is emptied before every input."""
    refusals: tuple[type[Exception], ...] = (InputError,)


@lru_cache(maxsize=512)
def right_input(target: Target, number: int, home: Path) -> dict[str, bytes]:
    """The files of one right input. The same number makes the same files."""
    folder = home / "right"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    target.make(folder, number)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def laid(target: Target, number: int, damages: list[Damage], home: Path, lying: dict[str, bytes]) -> Case:
    """The damaged input in the folder `home`/input. `lying` are the files that lie there now: what is the same stays."""
    before = right_input(target, number % target.right, home)
    after = damaged(before, damages)
    folder = home / "input"
    for name in lying.keys() - after.keys():
        (folder / name).unlink(missing_ok=True)
    for name, content in after.items():
        if lying.get(name) != content:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    lying.clear()
    lying.update(dict.fromkeys(after, b"?") if target.settle else after)
    case = Case(before, after, damages, folder, number)
    if target.settle:
        target.settle(case)
    if target.writes:
        shutil.rmtree(home / target.writes, ignore_errors=True)
    return case
