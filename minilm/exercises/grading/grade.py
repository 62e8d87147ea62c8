"""Grade the submissions of a class: each runs in a child process, two at a time, and every verdict is decided here."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from minilm.exercises.catalogue import Entry, load
from minilm.exercises.checks import decide
from minilm.exercises.grading.cells import has_ipython, transformed
from minilm.exercises.grading.isolated import GONE, Attempt, attempt, printable
from minilm.exercises.grading.own_work import ABSENT, FOREIGN, REFUSED, UNREADY
from minilm.exercises.grading.sources import Found, source_for
from minilm.exercises.grading.submissions import LARGEST, Submission, suffix
from minilm.exercises.plan import plan_of
from minilm.exercises.report import Report

PASSED, FAILED, MISSING, EMPTY = "passed", "failed", "missing", "not written yet"
NOT_RUN = "not run"
WORKERS = 2


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
    held: tuple[str, ...] | None = None  # what the system refused the code (`sandbox`); None if no code was run

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
    if any(suffix(path) in LARGEST for submission in submissions for path in submission.files) and has_ipython():
        transformed("")  # IPython, too
    pairs = [(submission, entry) for submission in submissions for entry in wanted]
    pool = ThreadPoolExecutor(WORKERS)

    def run(pair: tuple[Submission, Entry]) -> tuple[Found, Attempt | None]:
        submission, entry = pair
        try:
            found = source_for(submission, entry)
        except Exception as error:  # an unforeseen kind of file
            found = Found(unopened=f"the submission could not be read ({type(error).__name__})")
        if not found.source:
            return found, None
        resources = seed, limits.seconds, limits.megabytes
        return found, attempt(entry.name, entry.stem, found.source, *resources, found.cells, found.beside)

    try:
        for (submission, entry), (found, tried) in zip(pairs, pool.map(run, pairs)):
            made = verdict(submission.learner, entry, found, tried, seed)
            yield replace(made, message=printable(made.message, 2000), file=printable(made.file))
    finally:
        pool.shutdown(cancel_futures=True)


def verdict(learner: str, entry: Entry, found: Found, tried: Attempt | None, seed: int) -> Grade:
    """Decide the verdict. The child only sends arrays, errors and sentences; whether the arrays are right is decided here."""
    if tried is None:
        if found.unopened and not found.trouble:
            return Grade(learner, entry, NOT_RUN, found.unopened)
        text = found.trouble or found.absent or "not handed in"
        kind, at = (FAILED, 0) if found.trouble else (MISSING, None)
        return Grade(learner, entry, kind, text, at, file=found.place)
    rest: dict[str, Any] = {"seconds": tried.seconds, "file": found.place, "held": tried.held}
    if tried.said:
        kind, *lines = tried.said
        layer = None if kind == ABSENT else 0
        return Grade(
            learner, entry, {UNREADY: FAILED, ABSENT: MISSING}.get(kind, kind), " | ".join(lines), layer, **rest
        )
    if tried.ended[0] in (FOREIGN, REFUSED):
        return Grade(learner, entry, *tried.ended, 0, **rest)
    try:
        plan = plan_of(load(entry.name), seed)
        report = decide(plan, tried.work(plan))
    except Exception as error:  # ours or the learner's: nobody knows, so it is no verdict on the work
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return Grade(learner, entry, NOT_RUN, f"the answers could not be compared ({what[:200]})", **rest)
    if not report.passed and report.lines[0] == f"stopped by {GONE}":
        return Grade(learner, entry, *tried.ended, **rest)
    if tried.failed and any("NameError" in line for line in report.lines):  # probably the reason
        report = replace(report, lines=(*report.lines, tried.failed))
    return graded(learner, entry, report, rest)


def graded(learner: str, entry: Entry, report: Report, rest: dict) -> Grade:
    if report.passed:
        return Grade(learner, entry, PASSED, report.lines[0], **rest)
    if report.title == EMPTY:
        return Grade(learner, entry, EMPTY, "the unchanged stub", 0, **rest)
    if "asks for more memory" in report.lines[0]:
        return Grade(learner, entry, "memory", " | ".join(report.lines), report.layer, **rest)
    return Grade(learner, entry, FAILED, " | ".join(report.lines), report.layer, report.named, **rest)
