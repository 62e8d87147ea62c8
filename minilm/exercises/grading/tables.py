"""What the teacher reads: a table with one row per learner, one with a row per learner and exercise, one with every file that
was handed in, and the page about the class."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from minilm.exercises.catalogue import Entry, load
from minilm.exercises.grading.grade import EMPTY, FAILED, MISSING, PASSED, Grade
from minilm.exercises.grading.isolated import printable
from minilm.exercises.grading.sandbox import FILES, NETWORK
from minilm.exercises.grading.submissions import Submission
from minilm.exercises.report import LAYERS
from minilm.exercises.spec import where

LONG = ("learner", "exercise", "verdict", "layer", "mistake", "seconds", "message", "file", "seed")
SHOWN = 200  # files that the class page lists by name; the table lists all


def write_long(path: Path, grades: list[Grade], seed: int) -> None:
    """Write the table with one row for each learner and exercise."""
    rows = [
        (g.learner, g.entry.name, g.verdict, "" if g.layer is None else g.layer, g.mistake, f"{g.seconds:.2f}")
        + (g.message, g.file, seed)
        for g in grades
    ]
    write(path, LONG, rows)


def write_wide(
    path: Path, grades: list[Grade], wanted: list[Entry], seed: int, submissions: list[Submission] | None = None
) -> None:
    """Write the table with one row for each learner: how many exercises passed, the verdict on each, and the unread files."""
    by = {(g.learner, g.entry.name): g.verdict for g in grades}
    left = {submission.learner: "; ".join(submission.left) for submission in submissions or []}
    rows = []
    for learner in dict.fromkeys(g.learner for g in grades):
        verdicts = [by[learner, entry.name] for entry in wanted]
        rows.append(
            (learner, verdicts.count(PASSED), len(wanted), *verdicts, seed, printable(left.get(learner, ""), 2000))
        )
    write(path, ("learner", "passed", "of", *(entry.name for entry in wanted), "seed", "not read"), rows)


def files_of(submission: Submission, grades: list[Grade]) -> list[tuple[str, str]]:
    """What became of each file that a learner handed in: (file, sentence)."""
    mine = [g for g in grades if g.learner == submission.learner and g.file]
    used = {place: [g.entry.name for g in mine if g.file == place] for place in dict.fromkeys(g.file for g in mine)}
    taken = [
        (path, f"graded: {', '.join(used[printable(path)])}") for path in submission.files if printable(path) in used
    ]
    others = [path for path in submission.files if printable(path) not in used]
    return sorted([*taken, *((path, spare(path, used)) for path in others), *submission.left.items()])


def spare(path: str, used: dict[str, list[str]]) -> str:
    """Why a file that was read was not graded."""
    if used:
        return f"read, but not graded: what it defines was taken from {', '.join(used)}, or belongs to no exercise asked for"
    return "read, but it defines no function of these exercises"


def write_files(path: Path, submissions: list[Submission], nobodys: dict[str, str], grades: list[Grade]) -> None:
    """Write the table with one row for each file that was handed in."""
    graded = {g.learner for g in grades}
    rows = [("", name, f"not read: {reason}") for name, reason in nobodys.items()]
    for submission in submissions:
        if submission.learner in graded:
            for name, said in files_of(submission, grades):
                rows.append((submission.learner, name, f"not read: {said}" if name in submission.left else said))
            if not submission.files and not submission.left:
                rows.append((submission.learner, "", submission.trouble or "there is no file"))
    write(path, ("learner", "file", "what became of it"), [tuple(printable(cell, 500) for cell in row) for row in rows])


def write(path: Path, head: tuple, rows: list[tuple]) -> None:
    """Write a CSV file. The byte-order mark lets Excel read √; a ' keeps a spreadsheet from running a cell as a formula."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        for row in rows:
            table.writerow([f"'{cell}" if str(cell)[:1] in "=+-@\t\r" and str(cell) else cell for cell in row])


def class_page(
    grades: list[Grade],
    wanted: list[Entry],
    seed: int,
    submissions: list[Submission] | None = None,
    nobodys: dict[str, str] | None = None,
) -> str:
    """The page about the whole class, in Markdown: how many passed, the most common mistakes, and what was not read."""
    learners = len({g.learner for g in grades})
    lines = ["# The class", "", f"{counted(learners, 'learner')}, {counted(len(wanted), 'exercise')}, seed {seed}.", ""]
    lines += ["| exercise | handed in | passed | |", "|---|---|---|---|"]
    stumbles: list[str] = []
    for entry in wanted:
        mine = [g for g in grades if g.entry == entry]
        handed = [g for g in mine if g.verdict not in (MISSING, EMPTY)]
        passed = sum(g.verdict == PASSED for g in handed)
        share = f"{100 * passed / len(handed):.0f} %" if handed else ""
        lines.append(f"| {entry.number} · {entry.name} | {len(handed)} | {passed} | {share} |")
        stumbles += mistakes_of(entry, handed)
    lines += ["", "## Common mistakes", "", "Percentages are of the learners who handed in the exercise.", ""]
    lines += stumbles or ["None."]
    look = [g for g in grades if g.verdict not in (PASSED, FAILED, MISSING, EMPTY)]
    lines += ["", "## Please look at these yourself", ""]
    odd = [f"- {escaped(g.learner)}, {g.entry.name}: **{g.verdict}**. {escaped(g.message)}" for g in look]
    lines += odd or ["None."]
    lines += ["", "## Files that were not graded", "", *not_graded(grades, submissions or [], nobodys or {})]
    lines += ["", "## How the code was held back", "", isolation(grades)]
    return "\n".join(lines) + "\n"


def not_graded(grades: list[Grade], submissions: list[Submission], nobodys: dict[str, str]) -> list[str]:
    """One line for each file that was handed in and not graded."""
    graded = {g.learner for g in grades}
    lines = [f"- (nobody's) {escaped(name)}: {escaped(reason)}" for name, reason in nobodys.items()]
    for submission in submissions:
        found = files_of(submission, grades) if submission.learner in graded else []
        for name, said in found:
            if not said.startswith("graded: "):
                lines.append(f"- {escaped(submission.learner)}, {escaped(printable(name))}: {escaped(printable(said))}")
    more = [f"- … and {len(lines) - SHOWN} more, in the table of the files"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more] or ["None."]


def isolation(grades: list[Grade]) -> str:
    """What the operating system kept the code from, on every run."""
    held = [set(g.held) for g in grades if g.held is not None]
    if not held:
        return "No code was run."
    always = set.intersection(*held)
    words = {FILES: "change files outside a folder of its own", NETWORK: "go online or start other programs"}
    kept = [words[what] for what in (FILES, NETWORK) if what in always]
    open_ways = [words[what] for what in (FILES, NETWORK) if what not in always]
    lines = []
    if kept:
        lines.append(f"The operating system did not let the learners' code {' or '.join(kept)}.")
    if open_ways:
        lines.append(
            f"Only Python watched whether the code would {' or '.join(open_ways)}: a package that is written in C can do so "
            "unseen. Grade in a container, as the README of the exercises says."
        )
    return " ".join(lines)


def mistakes_of(entry: Entry, handed: list[Grade]) -> list[str]:
    """One line for each mistake in an exercise, the most frequent first."""
    exercise, failed = load(entry.name), [g for g in handed if g.verdict == FAILED]
    named: Callable[[Grade], tuple] = lambda g: g.mistakes or (g.layer,)  # noqa: E731
    lines = []
    for keys, count in Counter(map(named, failed)).most_common():
        share = f"**{100 * count / len(handed):.0f} %** ({count} of {len(handed)})"
        if isinstance(keys[0], str):
            what = "; ".join(exercise.wrong[key].name for key in keys)
            section = exercise.wrong[keys[0]].section or exercise.section
        else:
            what = f"no known mistake: the check fails at layer {keys[0]}, {LAYERS[keys[0]]}"
            section = exercise.section
        lines.append(f"- {entry.name}: {share} {what} → {where(section)}")
    return lines


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def escaped(words: str) -> str:
    """Names and messages on one line, with all characters escaped that mean something in Markdown."""
    return " ".join("".join(f"\\{c}" if c in "*_`[]<>|#" else c for c in words).split())
