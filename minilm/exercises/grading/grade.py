"""Grade the submissions of a class: each runs in a child process, two at a time, and every verdict is decided here."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minilm.exercises.catalogue import Entry, load
from minilm.exercises.checks import decide
from minilm.exercises.grading.child import UNREADY
from minilm.exercises.grading.isolated import GONE, Attempt, attempt, printable
from minilm.exercises.grading.own_work import FOREIGN, REFUSED
from minilm.exercises.grading.submissions import Found, Submission, source_for
from minilm.exercises.plan import plan_of
from minilm.exercises.report import LAYERS, Report
from minilm.exercises.spec import where

PASSED, FAILED, MISSING, EMPTY = "passed", "failed", "missing", "not written yet"
WORKERS = 2
LONG = ("learner", "exercise", "verdict", "layer", "mistake", "seconds", "message", "file", "seed")


@dataclass(frozen=True)
class Grade:
    """The verdict on one exercise of one learner: passed, failed, not written yet, missing, time, memory, stopped, not run,
    not their own work, or refused."""

    learner: str
    entry: Entry
    verdict: str
    message: str = ""
    layer: int | None = None
    mistakes: tuple[str, ...] = ()  # keys of `wrong` in the exercise's spec
    seconds: float = 0.0
    file: str = ""

    @property
    def mistake(self) -> str:
        return "; ".join(load(self.entry.name).wrong[key].name for key in self.mistakes)


@dataclass(frozen=True)
class Limits:
    """The limits for one submission to one exercise: processor time and memory."""

    seconds: float = 20.0
    megabytes: int = 1024


def grade(submissions: list[Submission], wanted: list[Entry], seed: int, limits: Limits) -> Iterator[Grade]:
    """Yield the grades in order, learner by learner. Ending the iteration early starts no further submissions."""
    for entry in wanted:
        load(entry.name)  # now, in one thread: Python crashes if this thread uses torch while another is importing it
    pairs = [(submission, entry) for submission in submissions for entry in wanted]
    pool = ThreadPoolExecutor(WORKERS)

    def run(pair: tuple[Submission, Entry]) -> tuple[Found, Attempt | None]:
        submission, entry = pair
        try:
            found = source_for(submission, entry)
        except Exception as error:  # an unforeseen kind of file
            found = Found(trouble=f"the submission cannot be read ({type(error).__name__})")
        if not found.source:
            return found, None
        return found, attempt(entry.name, entry.stem, found.source, seed, limits.seconds, limits.megabytes)

    try:
        for (submission, entry), (found, tried) in zip(pairs, pool.map(run, pairs)):
            made = verdict(submission.learner, entry, found, tried, seed)
            yield replace(made, message=printable(made.message, 2000), file=printable(made.file))
    finally:
        pool.shutdown(cancel_futures=True)


def verdict(learner: str, entry: Entry, found: Found, tried: Attempt | None, seed: int) -> Grade:
    """Decide the verdict. The child only sends arrays, errors and sentences; whether the arrays are right is decided here."""
    if tried is None:
        at = 0 if found.trouble else None
        text = found.trouble or "not handed in"
        return Grade(learner, entry, FAILED if found.trouble else MISSING, text, at, file=found.place)
    rest: dict[str, Any] = {"seconds": tried.seconds, "file": found.place}
    if tried.said:
        kind, *lines = tried.said
        return Grade(learner, entry, FAILED if kind == UNREADY else kind, " | ".join(lines), 0, **rest)
    if tried.ended[0] in (FOREIGN, REFUSED):
        return Grade(learner, entry, *tried.ended, 0, **rest)
    plan = plan_of(load(entry.name), seed)
    try:
        report = decide(plan, tried.work(plan))
    except Exception as error:  # an unforeseen kind of answer
        return Grade(learner, entry, FAILED, f"the answers cannot be compared ({type(error).__name__})", 1, **rest)
    if not report.passed and report.lines[0] == f"stopped by {GONE}":
        return Grade(learner, entry, *tried.ended, **rest)
    return graded(learner, entry, report, rest)


def graded(learner: str, entry: Entry, report: Report, rest: dict) -> Grade:
    if report.passed:
        return Grade(learner, entry, PASSED, report.lines[0], **rest)
    if report.title == EMPTY:
        return Grade(learner, entry, EMPTY, "the unchanged stub", 0, **rest)
    if "asks for more memory" in report.lines[0]:
        return Grade(learner, entry, "memory", " | ".join(report.lines), report.layer, **rest)
    return Grade(learner, entry, FAILED, " | ".join(report.lines), report.layer, report.named, **rest)


def write_long(path: Path, grades: list[Grade], seed: int) -> None:
    """Write the table with one row for each learner and exercise."""
    rows = [
        (g.learner, g.entry.name, g.verdict, "" if g.layer is None else g.layer, g.mistake, f"{g.seconds:.2f}")
        + (g.message, g.file, seed)
        for g in grades
    ]
    write(path, LONG, rows)


def write_wide(path: Path, grades: list[Grade], wanted: list[Entry], seed: int) -> None:
    """Write the table with one row for each learner: how many exercises passed, and the verdict on each."""
    by = {(g.learner, g.entry.name): g.verdict for g in grades}
    rows = []
    for learner in dict.fromkeys(g.learner for g in grades):
        verdicts = [by[learner, entry.name] for entry in wanted]
        rows.append((learner, verdicts.count(PASSED), len(wanted), *verdicts, seed))
    write(path, ("learner", "passed", "of", *(entry.name for entry in wanted), "seed"), rows)


def write(path: Path, head: tuple, rows: list[tuple]) -> None:
    """Write a CSV file. The byte-order mark lets Excel read √; a ' keeps a spreadsheet from running a cell as a formula."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        for row in rows:
            table.writerow([f"'{cell}" if str(cell)[:1] in "=+-@\t\r" and str(cell) else cell for cell in row])


def class_page(grades: list[Grade], wanted: list[Entry], seed: int) -> str:
    """The page about the whole class, in Markdown: how many passed, and the most common mistakes."""
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
    return "\n".join(lines) + "\n"


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
