"""A class's submissions, graded: each in a child of its own, two at a time, and every verdict decided here."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from minilm.exercises.catalogue import Entry, load
from minilm.exercises.checks import decide
from minilm.exercises.child import UNREADY
from minilm.exercises.isolated import GONE, Attempt, attempt, plain
from minilm.exercises.own_work import FOREIGN, REFUSED
from minilm.exercises.plan import plan_of
from minilm.exercises.report import LAYERS, Report
from minilm.exercises.spec import where
from minilm.exercises.submissions import Found, Submission, source_for

PASSED, FAILED, MISSING, EMPTY = "passed", "failed", "missing", "not written yet"
WORKERS = 2
LONG = ("learner", "exercise", "verdict", "layer", "mistake", "seconds", "message", "file", "seed")


@dataclass(frozen=True)
class Grade:
    """One learner, one exercise. Verdicts: passed, failed, not written yet, missing, time, memory, stopped, not run,
    not their own work, refused."""

    learner: str
    entry: Entry
    verdict: str
    message: str = ""
    layer: int | None = None
    mistakes: tuple[str, ...] = ()  # keys of the exercise's `wrong`
    seconds: float = 0.0
    file: str = ""

    @property
    def mistake(self) -> str:
        return "; ".join(load(self.entry.name).wrong[key].name for key in self.mistakes)


@dataclass(frozen=True)
class Limits:
    """For one submission to one exercise."""

    seconds: float = 20.0
    megabytes: int = 1024


def grade(submissions: list[Submission], wanted: list[Entry], seed: int, limits: Limits) -> Iterator[Grade]:
    """The grades, learner by learner, as they are ready. Ending the iteration early ends the children that run."""
    pairs = [(submission, entry) for submission in submissions for entry in wanted]
    pool = ThreadPoolExecutor(WORKERS)

    def run(pair: tuple[Submission, Entry]) -> tuple[Found, Attempt | None]:
        submission, entry = pair
        try:
            found = source_for(submission, entry)
        except Exception as error:  # a file of a kind that nobody has thought of
            found = Found(trouble=f"what was handed in cannot be read ({type(error).__name__})")
        if not found.source:
            return found, None
        return found, attempt(entry.name, entry.stem, found.source, seed, limits.seconds, limits.megabytes)

    try:
        for (submission, entry), (found, tried) in zip(pairs, pool.map(run, pairs)):
            made = verdict(submission.learner, entry, found, tried, seed)
            yield replace(made, message=plain(made.message, 2000), file=plain(made.file))
    finally:
        pool.shutdown(cancel_futures=True)


def verdict(learner: str, entry: Entry, found: Found, tried: Attempt | None, seed: int) -> Grade:
    """The decision. What the child sent are numbers, errors and sentences; none of it is a verdict on the numbers."""
    if tried is None:
        at = 0 if found.trouble else None
        text = found.trouble or "not handed in"
        return Grade(learner, entry, FAILED if found.trouble else MISSING, text, at, file=found.place)
    rest = {"seconds": tried.seconds, "file": found.place}
    if tried.said:
        kind, *lines = tried.said
        return Grade(learner, entry, FAILED if kind == UNREADY else kind, " | ".join(lines), 0, **rest)
    if tried.ended[0] in (FOREIGN, REFUSED):
        return Grade(learner, entry, *tried.ended, 0, **rest)
    plan = plan_of(load(entry.name), seed)
    try:
        report = decide(plan, tried.work(plan))
    except Exception as error:  # answers of a kind that nobody has thought of
        return Grade(learner, entry, FAILED, f"the answers cannot be compared ({type(error).__name__})", 1, **rest)
    if not report.passed and report.lines[0] == f"stopped by {GONE}":
        return Grade(learner, entry, *tried.ended, **rest)
    return graded(learner, entry, report, rest)


def graded(learner: str, entry: Entry, report: Report, rest: dict) -> Grade:
    if report.passed:
        return Grade(learner, entry, PASSED, report.lines[0], **rest)
    if report.title == EMPTY:
        return Grade(learner, entry, EMPTY, "the stub as it was handed out", 0, **rest)
    if "asks for more memory" in report.lines[0]:
        return Grade(learner, entry, "memory", " | ".join(report.lines), report.layer, **rest)
    return Grade(learner, entry, FAILED, " | ".join(report.lines), report.layer, report.named, **rest)


def write_long(path: Path, grades: list[Grade], seed: int) -> None:
    """One row for each learner and exercise."""
    rows = [
        (g.learner, g.entry.name, g.verdict, "" if g.layer is None else g.layer, g.mistake, f"{g.seconds:.2f}")
        + (g.message, g.file, seed)
        for g in grades
    ]
    write(path, LONG, rows)


def write_wide(path: Path, grades: list[Grade], wanted: list[Entry], seed: int) -> None:
    """One row for each learner: how many passed, and the verdict on each exercise."""
    by = {(g.learner, g.entry.name): g.verdict for g in grades}
    rows = []
    for learner in dict.fromkeys(g.learner for g in grades):
        verdicts = [by[learner, entry.name] for entry in wanted]
        rows.append((learner, verdicts.count(PASSED), len(wanted), *verdicts, seed))
    write(path, ("learner", "passed", "of", *(entry.name for entry in wanted), "seed"), rows)


def write(path: Path, head: tuple, rows: list[tuple]) -> None:
    """With a byte-order mark, so that Excel reads √; a text that a spreadsheet would take for a formula gets a '."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        for row in rows:
            table.writerow([f"'{cell}" if str(cell)[:1] in "=+-@\t\r" and str(cell) else cell for cell in row])


def class_page(grades: list[Grade], wanted: list[Entry], seed: int) -> str:
    """What the class can do and what it stumbles over, in Markdown."""
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
    lines += ["", "## Where it goes wrong", "", "Shares are of those who handed the exercise in.", ""]
    lines += stumbles or ["Nowhere."]
    look = [g for g in grades if g.verdict not in (PASSED, FAILED, MISSING, EMPTY)]
    lines += ["", "## To be looked at by hand", ""]
    lines += [f"- {text(g.learner)}, {g.entry.name}: **{g.verdict}**. {text(g.message)}" for g in look] or ["Nothing."]
    return "\n".join(lines) + "\n"


def mistakes_of(entry: Entry, handed: list[Grade]) -> list[str]:
    """The mistakes in an exercise, the most frequent first."""
    exercise, failed = load(entry.name), [g for g in handed if g.verdict == FAILED]
    named: Callable[[Grade], tuple] = lambda g: g.mistakes or (g.layer,)  # noqa: E731
    lines = []
    for keys, count in Counter(map(named, failed)).most_common():
        share = f"**{100 * count / len(handed):.0f} %** ({count} of {len(handed)})"
        if isinstance(keys[0], str):
            what = "; ".join(exercise.wrong[key].name for key in keys)
            section = exercise.wrong[keys[0]].section or exercise.section
        else:
            what = f"no known mistake: fails at layer {keys[0]}, {LAYERS[keys[0]]}"
            section = exercise.section
        lines.append(f"- {entry.name}: {share} {what} → {where(section)}")
    return lines


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def text(words: str) -> str:
    """Names and messages as plain words in Markdown."""
    return " ".join("".join(f"\\{c}" if c in "*_`[]<>|#" else c for c in words).split())
