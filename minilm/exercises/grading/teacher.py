"""`minilm exercise …` for teachers: handout · grade · solutions."""

import io
import math
import secrets
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from minilm.errors import InputError
from minilm.exercises import folder as files
from minilm.exercises.catalogue import load
from minilm.exercises.grading import cells, grade as grading, tables
from minilm.exercises.grading.solutions import solution_file
from minilm.exercises.grading.submissions import Submission, read_all, suffix
from minilm.exercises.stub import stub

Say = Callable[[str], None]
MOST_MEMORY = 1 << 20  # megabytes, a terabyte
WORDS = {"time": "out of time", "memory": "out of memory"}  # verdicts that read oddly after a number
WHEN = (2020, 1, 1, 0, 0, 0)  # the time in the zip is fixed, so that the same handout is the same file, bit for bit
README = """# Exercises

In each file you write one function or class. The first lines say what it has to do; write your code in place of
`raise NotImplementedError`.

    minilm exercise list --folder .             shows what you have solved
    minilm exercise check {name} --folder .
    minilm exercise hint {name} --folder .

Type these commands in the folder of this file; minilm must be installed. Plain `pytest` checks everything as well.
Each file must work on its own: what an exercise needs from other exercises is already imported from the library.
Hand in the files, or a zip of this folder, or a notebook with your functions.

{rows}
"""


def handout(names: tuple[str, ...], out: Path | None, bare: bool, say: Say) -> int:
    """Write a zip of stubs, with the test file and a page that says how to start. Raises InputError."""
    wanted, path = files.named(names), out or Path("handout.zip")
    if path.suffix.lower() != ".zip":
        raise InputError(f"the handout is a zip: give --out a name that ends in .zip, not {path.name}.")
    rows = "\n".join(f"    {entry.number:3}  {entry.stem}.py   {entry.title}" for entry in wanted)
    content = {f"{entry.stem}.py": stub(load(entry.name), guided=not bare) for entry in wanted}
    content |= {files.TESTS: files.TEST_FILE, "README.md": README.format(name=wanted[0].name, rows=rows)}
    pack(path, content, str(files.DEFAULT))
    say(f"{path} is written: {tables.counted(len(wanted), 'exercise')}, without solutions.")
    return 0


def solutions(names: tuple[str, ...], out: Path | None, say: Say) -> int:
    """Write the library's code as files that pass, into a folder, or a zip if --out ends in .zip. Raises InputError."""
    wanted, path = files.named(names), out or Path("solutions")
    content = {f"{entry.stem}.py": solution_file(load(entry.name)) for entry in wanted}
    if path.suffix.lower() == ".zip":
        pack(path, content, "solutions")
    else:
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file: give --out the name of a folder, or one that ends in .zip.")
        if there := [name for name in content if (path / name).exists()]:
            raise InputError(f"{path / there[0]} already exists: give another --out, so that nobody's work is lost.")
        path.mkdir(parents=True, exist_ok=True)
        for name, source in content.items():
            (path / name).write_text(source, encoding="utf-8")
    say(f"{path} is written: {tables.counted(len(wanted), 'solution')}.")
    return 0


def pack(path: Path, content: dict[str, str], folder: str) -> None:
    if path.exists():
        raise InputError(f"{path} already exists: remove it, or give another --out.")
    writable(path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as parts:
        for name, source in content.items():
            info = zipfile.ZipInfo(f"{folder}/{name}", WHEN)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            parts.writestr(info, source.encode())
    try:
        path.write_bytes(packed.getvalue())
    except OSError:
        path.unlink(missing_ok=True)  # half a zip is useless, and would be in the way next time
        raise


def writable(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to hold {path.name}: create it, or give another --out.")


def grade(names: tuple[str, ...], out: Path | None, seed: int | None, limits: grading.Limits, say: Say) -> int:
    """Grade a folder of submissions, and write three tables and a page about the class. Raises InputError."""
    if not names:
        raise InputError("say where the submissions are: minilm exercise grade FOLDER [EXERCISE ...] --out grades.csv.")
    if not 0 < limits.seconds < math.inf or not 0 < limits.megabytes <= MOST_MEMORY:
        raise InputError(f"--seconds must be more than 0, and --memory from 1 to {MOST_MEMORY} (megabytes).")
    if seed is not None and seed < 0:
        raise InputError(f"--seed must be 0 or more, not {seed}.")
    wide = out or Path("grades.csv")
    if wide.suffix.lower() != ".csv":
        raise InputError(f"the grades are a table: give --out a name that ends in .csv, not {wide.name}.")
    writable(wide)
    long, page = wide.with_name(f"{wide.stem}_long.csv"), wide.with_suffix(".md")
    listing = wide.with_name(f"{wide.stem}_files.csv")
    wanted = files.named(names[1:])
    submissions, nobodys = read_all(Path(names[0]))
    notebooks_can_run(submissions)
    seed = secrets.randbelow(2**31) if seed is None else seed
    new = [path for path in (wide, long, listing, page) if not path.exists()]
    for path in (wide, long, listing, page):  # if a table is open in Excel, complain now and not after an hour
        with path.open("ab"):
            pass
    grades: list[grading.Grade] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's warnings about the learners' code
            for each in grading.grade(submissions, wanted, seed, limits):
                grades.append(each)
                if len(grades) % len(wanted) == 0:
                    say(one_line(grades[-len(wanted) :]))
    finally:  # also after Ctrl-C: the tables hold everyone who has been graded
        grades = grades[: len(grades) // len(wanted) * len(wanted)]
        if grades:
            tables.write_wide(wide, grades, wanted, seed, submissions)
            tables.write_long(long, grades, seed)
            tables.write_files(listing, submissions, nobodys, grades)
            page.write_text(tables.class_page(grades, wanted, seed, submissions, nobodys), encoding="utf-8")
            passed = sum(g.verdict == grading.PASSED for g in grades)
            if unread := len(nobodys) + sum(len(submission.left) for submission in submissions):
                say(f"{tables.counted(unread, 'file')} not read: {listing} says why.")
            say(f"{passed} of {len(grades)} passed, seed {seed}. {wide}, {long}, {listing} and {page} are written.")
        else:  # stopped before the first was done: earlier tables stay as they are
            for path in new:
                path.unlink()
            say("Nobody was graded, and nothing was written.")
    return 0


def notebooks_can_run(submissions: list[Submission]) -> None:
    """Raises InputError if there are notebooks, but not IPython, which runs their cells."""
    if cells.has_ipython():
        return
    for submission in submissions:
        if found := [path for path in submission.files if suffix(path) == ".ipynb"]:
            raise InputError(f"{submission.learner} handed in {found[0]}: {cells.NEEDED}.")


def one_line(grades: list[grading.Grade]) -> str:
    """How often a learner got each verdict, on one line."""
    counts = Counter(grade.verdict for grade in grades).most_common()
    return f"{grades[0].learner}: {', '.join(f'{count} {WORDS.get(word, word)}' for word, count in counts)}"
