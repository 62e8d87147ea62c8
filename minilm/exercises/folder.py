"""The learner's folder: one file per exercise, and a test file, so that plain `pytest` works there too."""

from dataclasses import replace
from pathlib import Path

from minilm.errors import InputError
from minilm.exercises.catalogue import Entry, entries, find, load
from minilm.exercises.learner import check_file
from minilm.exercises.progress import Progress, checksum
from minilm.exercises.report import NOT_FINISHED, NOT_WRITTEN, Report
from minilm.exercises.stub import stub

DEFAULT = Path("minilm-exercises")
TESTS = "test_exercises.py"
TEST_FILE = '''"""`pytest` checks every exercise in this folder as `minilm exercise check` does; `pytest -k e01` checks one of them.

Files that are still as they were handed out are skipped: `pytest -rs` lists them.
"""

from pathlib import Path

import pytest

from minilm.exercises.folder import check_in

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("file", sorted(path.stem for path in HERE.glob("e[0-9][0-9]_*.py")))
def test_exercise(file):
    report = check_in(HERE, file)
    if report.title == "not written yet":
        pytest.skip(f"{report.name} is not written yet")
    if not report.passed:
        pytest.fail(report.text(width=80), pytrace=False)
'''


def start(folder: Path, wanted: list[Entry], guided: bool = True) -> tuple[list[Path], list[Path]]:
    """Write the missing stubs and the test file. Returns the files (written, left as they were). Raises InputError."""
    refuse_a_file(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TESTS).write_text(TEST_FILE, encoding="utf-8")
    progress = Progress(folder)
    written: list[Path] = []
    left: list[Path] = []
    for entry in wanted:
        path = folder / f"{entry.stem}.py"
        if path.exists():
            left.append(path)
        else:
            path.write_text(stub(load(entry.name), guided), encoding="utf-8")
            progress.of(entry.name).stub = checksum(path)
            written.append(path)
    progress.save()
    return written, left


def reset(folder: Path, entry: Entry, guided: bool = True) -> Path | None:
    """Write a new stub. An earlier file becomes `….py.old`, whose path is returned; None if there was nothing to keep."""
    path, old = folder / f"{entry.stem}.py", None
    if path.is_file() and Progress(folder).untouched(entry):
        path.unlink()  # an unchanged stub must not replace older work in .old
    elif path.exists():
        names = (path.with_suffix(f".py.old{number or ''}") for number in (0, *range(2, 1000)))
        old = next(name for name in names if not name.exists())  # keeps what earlier resets have kept
        path.replace(old)
    start(folder, [entry], guided)
    return old


def check_in(folder: Path, name: str) -> Report:
    """Check one file of the folder and remember the verdict in its progress file."""
    entry, progress = find(name), Progress(folder)
    path = progress.file(entry)
    report = check_file(load(entry.name), path)
    if report.title in (NOT_WRITTEN, NOT_FINISHED):
        report = replace(report, lines=(f"{path}: {report.lines[0]}", *report.lines[1:]))
    progress.note(entry, report)
    return report


def named(names: tuple[str, ...]) -> list[Entry]:
    """The exercises with those names; all exercises if there is no name, or for `all`. Raises InputError."""
    return list(entries()) if not names or names == ("all",) else [find(name) for name in names]


def place(folder: Path) -> Path:
    """The folder itself; but if you are inside a learner's folder, you need not name it. Raises InputError for a file."""
    refuse_a_file(folder)
    inside = Path(TESTS).is_file() and any(Path().glob("e[0-9][0-9]_*.py"))
    return Path() if folder == DEFAULT and not folder.exists() and inside else folder


def find_folder(folder: Path) -> Path:
    """The learner's folder, as `place` finds it. Raises InputError if there is none."""
    folder = place(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder} yet: `minilm exercise start` creates it.")
    return folder


def refuse_a_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, but the exercises need a folder: give another name.")
