"""`minilm exercise …` for who teaches: handout · grade · solutions."""

import io
import math
import secrets
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from minilm.errors import InputError
from minilm.exercises import folder as files, grade as grading
from minilm.exercises.catalogue import load
from minilm.exercises.solutions import solved
from minilm.exercises.stub import stub
from minilm.exercises.submissions import read_class

Say = Callable[[str], None]
MOST_MEMORY = 1 << 20  # megabytes, a terabyte
WHEN = (2020, 1, 1, 0, 0, 0)  # in the zip: the same handout is the same file, bit for bit
README = """# Exercises

Each file asks for one piece: its first lines say what, and `raise NotImplementedError` is where your code goes.

    minilm exercise list --folder .             where you stand
    minilm exercise check {name} --folder .
    minilm exercise hint {name} --folder .

Type this in the folder in which this file lies (minilm must be installed). Plain `pytest` checks everything, too.
Each file must stand on its own: what an exercise needs of the others is imported from the library already.
Hand in the files, or a zip of this folder, or a notebook with the functions in it.

{rows}
"""


def handout(names: tuple[str, ...], out: Path | None, bare: bool, say: Say) -> int:
    """A zip of stubs, the test file and a page that says how to begin. Raises InputError."""
    wanted, path = files.named(names), out or Path("handout.zip")
    if path.suffix.lower() != ".zip":
        raise InputError(f"the handout is a zip: give --out a name that ends in .zip, not {path.name}.")
    rows = "\n".join(f"    {entry.number:3}  {entry.stem}.py   {entry.title}" for entry in wanted)
    content = {f"{entry.stem}.py": stub(load(entry.name), guided=not bare) for entry in wanted}
    content |= {files.TESTS: files.TEST_FILE, "README.md": README.format(name=wanted[0].name, rows=rows)}
    pack(path, content, str(files.DEFAULT))
    say(f"{path}: {grading.counted(len(wanted), 'exercise')}, no solutions.")
    return 0


def solutions(names: tuple[str, ...], out: Path | None, say: Say) -> int:
    """The library's own code as files that pass, in a folder or, where --out ends in .zip, in a zip. Raises InputError."""
    wanted, path = files.named(names), out or Path("solutions")
    content = {f"{entry.stem}.py": solved(load(entry.name)) for entry in wanted}
    if path.suffix.lower() == ".zip":
        pack(path, content, "solutions")
    else:
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file: give --out the name of a folder, or one that ends in .zip.")
        if there := [name for name in content if (path / name).exists()]:
            raise InputError(f"{path / there[0]} is already there: give another --out, so that nobody's work is lost.")
        path.mkdir(parents=True, exist_ok=True)
        for name, source in content.items():
            (path / name).write_text(source, encoding="utf-8")
    say(f"{path}: {grading.counted(len(wanted), 'solution')}.")
    return 0


def pack(path: Path, content: dict[str, str], folder: str) -> None:
    if path.exists():
        raise InputError(f"{path} is already there: remove it, or give another --out.")
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
        path.unlink(missing_ok=True)  # half a zip helps nobody, and would be "already there" the next time
        raise


def writable(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into: make it, or give another --out.")


def grade(names: tuple[str, ...], out: Path | None, seed: int | None, limits: grading.Limits, say: Say) -> int:
    """Grade a folder of submissions; two tables and a page are written. Raises InputError."""
    if not names:
        raise InputError("say where the submissions lie: minilm exercise grade FOLDER [EXERCISE ...] --out grades.csv.")
    if not 0 < limits.seconds < math.inf or not 0 < limits.megabytes <= MOST_MEMORY:
        raise InputError(f"--seconds must be more than 0, --memory from 1 to {MOST_MEMORY} (megabytes).")
    if seed is not None and seed < 0:
        raise InputError(f"--seed must be 0 or more, not {seed}.")
    wide = out or Path("grades.csv")
    if wide.suffix.lower() != ".csv":
        raise InputError(f"the grades are a table: give --out a name that ends in .csv, not {wide.name}.")
    writable(wide)
    long, page = wide.with_name(f"{wide.stem}_long.csv"), wide.with_suffix(".md")
    wanted = files.named(names[1:])
    submissions = read_class(Path(names[0]))
    seed = secrets.randbelow(2**31) if seed is None else seed
    new = [path for path in (wide, long, page) if not path.exists()]
    for path in (wide, long, page):  # a table that is open in Excel: say so now, not after an hour
        with path.open("ab"):
            pass
    grades: list[grading.Grade] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python thinks about the learners' code
            for each in grading.grade(submissions, wanted, seed, limits):
                grades.append(each)
                if len(grades) % len(wanted) == 0:
                    say(one_line(grades[-len(wanted) :]))
    finally:  # after Ctrl-C, too: who is done stands in the tables
        grades = grades[: len(grades) // len(wanted) * len(wanted)]
        if grades:
            grading.write_wide(wide, grades, wanted, seed)
            grading.write_long(long, grades, seed)
            page.write_text(grading.class_page(grades, wanted, seed), encoding="utf-8")
            passed = sum(g.verdict == grading.PASSED for g in grades)
            say(f"{passed} of {len(grades)} passed, seed {seed}. Written: {wide}, {long}, {page}.")
        else:  # stopped before the first was done: what earlier tables say stays
            for path in new:
                path.unlink()
            say("Nobody was graded, and nothing is written.")
    return 0


def one_line(grades: list[grading.Grade]) -> str:
    """A learner's verdicts, counted."""
    counts = Counter(grade.verdict for grade in grades).most_common()
    return f"{grades[0].learner}: {', '.join(f'{count} {word}' for word, count in counts)}"
