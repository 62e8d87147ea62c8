"""What a job changed or left out. Nothing is dropped in silence: each remark is shown and kept in the run folder."""

import sys
from collections.abc import Callable
from pathlib import Path

from minilm.files.atomic import write_text

Note = Callable[[str], None]
FILE = "notes.txt"


def unheard(text: str) -> None:
    """A `Note` for callers who want none, such as tests."""


def aside(text: str) -> None:
    """A `say` for commands whose output is data: it prints to standard error, so that other programs can read the output."""
    print(text, file=sys.stderr)


class Notes:
    """Collects remarks of one line each, shows each of them once, and writes them into a folder.

    Functions that read or change data take a `Note` and call it with a whole sentence; a job hands them its `Notes`.
    """

    def __init__(self, say: Note = print):
        self.say = say
        self.lines: list[str] = []

    def __call__(self, text: str) -> None:
        if text not in self.lines:
            self.lines.append(text)
            self.say(f"note: {text}")

    def write(self, folder: Path, name: str = FILE, add: bool = False) -> None:
        """Write the file `name`, one remark per line. If there are none, an older file is removed.

        With `add`, what the file says already stays there, because a run that is continued has not undone it.
        """
        path = folder / name
        before = path.read_text(encoding="utf-8").split("\n")[:-1] if add and path.exists() else []
        if lines := [*before, *(line for line in self.lines if line not in before)]:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, "".join(f"{line}\n" for line in lines))
        else:
            path.unlink(missing_ok=True)
