"""`minilm exercise …`: list · start · check · watch · hint · solution · reset · quality · handout · grade · solutions."""

import difflib
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from minilm.errors import InputError
from minilm.exercises import folder as files
from minilm.exercises.catalogue import Entry, entries, find, load, next_entry
from minilm.exercises.hints import next_hint
from minilm.exercises.progress import TRIES, Progress, checksum
from minilm.exercises.report import DIM, GREEN, LAYERS, RED, YELLOW, Report, columns, may_colour, painter
from minilm.exercises.stub import solution

Say = Callable[[str], None]
PAUSE = 0.5  # seconds between two looks at the file in `watch`
USED_BY = {  # option → the actions that use it
    "bare": ("start", "reset", "handout"),
    "out": ("handout", "grade", "solutions"),
    "seed": ("grade",),
    "seconds": ("grade",),
    "memory": ("grade",),
    "seeds": ("quality",),
}


@dataclass(frozen=True)
class ExerciseOptions:
    """Write parts of the library yourself and have them checked: list, start, check, watch, hint, solution, reset.
    Teachers: handout, grade, solutions.
    (quality tests the checks themselves: do they reject every known mistake, accept every correct style and notice mutants?)"""

    action: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="[ACTION]")]] = "list"
    """list, start (write the files), check, watch (check at every save), hint (show the next of three), solution (after a
    pass or three failed tries), reset (start again; your file is kept as .old).
    Teachers: handout (a zip of stubs), grade (a folder of submissions), solutions (a folder or a zip)."""
    names: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME ...]")]] = ()
    """Names or numbers of exercises. Without a name, start and list take all of them, and check and watch take the file that
    you changed last. For grade, the folder of submissions comes first."""
    folder: Path = files.DEFAULT
    """The folder with your files."""
    bare: bool = False
    """start, reset, handout: leave out the numbered steps in the function bodies."""
    out: Path | None = None
    """handout, grade, solutions: what to write. The default is handout.zip, grades.csv or the folder solutions."""
    seed: int | None = None
    """grade: the seed of the random test inputs; drawn at random if you give none. The tables show it."""
    seconds: float = 20.0
    """grade: how many seconds of processor time one submission to one exercise may take, all cells of a notebook included."""
    memory: int = 1024
    """grade: how many megabytes of memory it may use."""
    seeds: int = 20
    """quality: seeds to try for each mistake. The 50 for each right style and the 1,000 other runs grow in proportion."""


def exercise(options: ExerciseOptions = ExerciseOptions(), say: Say = print) -> int:  # noqa: B008
    """Run one action and return the exit code: 0 if it is done or passed, 1 if a check failed. Raises InputError."""
    actions = {
        "list": show_list,
        "start": start,
        "check": check,
        "watch": watch,
        "hint": hint,
        "solution": show_solution,
        "reset": reset,
        "quality": quality,
        "handout": teach,
        "grade": teach,
        "solutions": teach,
    }
    if options.action not in actions:
        close = difflib.get_close_matches(options.action.lower(), actions, n=1)
        meant = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(actions)}."
        raise InputError(f"there is no action '{options.action}': {meant}")
    for name, those in USED_BY.items():
        if options.action not in those and getattr(options, name) != getattr(ExerciseOptions, name):
            raise InputError(f"--{name} is only for {', '.join(those)}: {options.action} does not take it.")
    return actions[options.action](options, say)


def show_list(options: ExerciseOptions, say: Say) -> int:
    """Show every exercise with its mark, and what comes next."""
    paint = painter(may_colour())
    progress = Progress(files.place(options.folder))
    count, following, rows = 0, None, []
    for entry in files.named(options.names):
        state, layer = progress.state(entry)
        mark, word, colour = {
            "missing": (" ", "", DIM),
            "untouched": ("·", "not written yet", DIM),
            "passed": ("✓", "passed", GREEN),
            "failed": ("✗", progress.title(entry) or f"layer {layer}: {LAYERS[layer]}", RED),
            "changed": ("~", "changed since the last check", YELLOW),
        }[state]
        count += state == "passed"
        following = following or (entry if state != "passed" else None)
        rows.append((entry, mark, word, colour))
    names, words = (max(map(len, column)) for column in zip(*((row[0].name, row[2]) for row in rows)))
    room = columns(most=200) - (names + words + 8)
    effort = (
        len("15 min medium  ") if room > 30 else 0
    )  # both are estimates; in a narrow terminal the title comes first
    for entry, mark, word, colour in rows:
        title = f"{f'{entry.minutes:2} min {entry.difficulty}':{effort}}"[:effort] + entry.title
        title = title if len(title) <= room else title[: max(room - 2, 0)].rstrip() + " …"
        say(f"{entry.number:3} {paint(mark, colour)} {entry.name:{names}} {paint(f'{word:{words}}', colour)} {title}")
    say(f"    {count} of {len(rows)} passed." + next_step(options, progress, following))
    return 0


def next_step(options: ExerciseOptions, progress: Progress, following: Entry | None) -> str:
    if following is None:
        return " You have passed them all."
    if not started(options):
        return f"  start with: {command(options, 'start', '')}".rstrip()
    if not progress.file(following).is_file():
        return f"  next: {command(options, 'start', following.name)}"
    return f"  next: {progress.file(following)}, then {command(options, 'check', following.name)}"


def started(options: ExerciseOptions) -> bool:
    return files.place(options.folder).is_dir()


def start(options: ExerciseOptions, say: Say) -> int:
    wanted, folder = files.named(options.names), files.place(options.folder)
    written, left = files.start(folder, wanted, guided=not options.bare)
    parts = [f"{len(written)} new {'file' if len(written) == 1 else 'files'}"] if written else []
    parts += [f"{len(left)} {'file left as it was' if len(left) == 1 else 'files left as they were'}"] if left else []
    say(f"{folder if folder.name else 'this folder'}: {', '.join(parts)}.")
    say(f"Open {folder / (wanted[0].stem + '.py')} in your editor, write your code, then run:")
    say(f"  {command(options, 'check', wanted[0].name)}      says what is wrong, and tries to say why")
    say(f"  {command(options, 'watch', wanted[0].name)}      does the same every time you save")
    return 0


def check(options: ExerciseOptions, say: Say) -> int:
    """Check one exercise and show the report, or check several and show one line for each. Returns 1 if any failed."""
    folder = files.find_folder(options.folder)
    wanted = files.named(options.names) if options.names else [latest(folder)]
    if options.names == ("all",):
        wanted = [entry for entry in wanted if Progress(folder).file(entry).is_file()] or wanted
    for entry in wanted:
        there(options, folder, entry)
    reports = []
    for entry in wanted:
        report = files.check_in(folder, entry.name)
        reports.append(report)
        text = shown(report, options, entry)
        say(text if len(wanted) == 1 else text.split("\n")[0])
    if len(wanted) > 1:
        say(f"{sum(report.passed for report in reports)} of {len(reports)} passed.")
    return 0 if all(report.passed for report in reports) else 1


def latest(folder: Path) -> Entry:
    """The exercise whose file was changed last; if all files are still stubs, the first one that is there."""
    progress = Progress(folder)
    there = [entry for entry in entries() if progress.file(entry).is_file()] or [entries()[0]]
    begun = [entry for entry in there if progress.state(entry)[0] not in ("missing", "untouched")]
    return max(begun, key=lambda entry: progress.file(entry).stat().st_mtime) if begun else there[0]


def shown(report: Report, options: ExerciseOptions, entry: Entry) -> str:
    progress, following = Progress(files.place(options.folder)), next_entry(entry.name)
    later = [each for each in entries() if each.number > entry.number and progress.file(each).is_file()]
    if waiting := next((each for each in later if progress.state(each)[0] != "passed"), None):
        step = command(options, "check", waiting.name)
    else:
        step = command(options, "start", following.name) if following else "that was the last one"
    return report.text(may_colour(), command(options, "hint", "{}"), step, columns())


def watch(options: ExerciseOptions, say: Say, rounds: int | None = None, pause: float = PAUSE) -> int:
    """Check the file whenever it changes, until Ctrl-C. Reading it twice a second works on every file system."""
    folder = files.find_folder(options.folder)
    if len(options.names) > 1:
        raise InputError("watch looks at one file: give one name, or none for the file that you changed last.")
    entry = find(options.names[0]) if options.names else latest(folder)
    path = there(options, folder, entry)
    say(f"Watching {path}. Press Ctrl-C to stop.")
    before = None
    try:
        while rounds is None or rounds > 0:
            now = state_of(path)
            if now != before:
                say(f"\n{time.strftime('%H:%M:%S')}")
                gone = f"{path} is gone: waiting until you save it again."
                say(shown(files.check_in(folder, entry.name), options, entry) if now else gone)
            before, rounds = now, None if rounds is None else rounds - 1
            time.sleep(pause)
    except KeyboardInterrupt:
        say("")
    return 0


def there(options: ExerciseOptions, folder: Path, entry: Entry) -> Path:
    """The path of the learner's file. Raises InputError if there is no such file."""
    path = Progress(folder).file(entry)
    if not path.is_file():
        raise InputError(f"there is no file {path}: `{command(options, 'start', entry.name)}` creates it.")
    return path


def state_of(path: Path) -> tuple[int, str] | None:
    """What changes when a file is saved. The checksum is needed for two saves within one tick of a coarse clock."""
    try:
        return path.stat().st_mtime_ns, checksum(path)
    except OSError:  # it is gone, or is being written right now
        return None


def hint(options: ExerciseOptions, say: Say) -> int:
    """First a hint about the mistake that the last check found, if it found one; then the next of the three general hints."""
    folder = files.find_folder(options.folder)
    for entry in [find(name) for name in options.names] or [latest(folder)]:
        there(options, folder, entry)
        progress, spec = Progress(folder), load(entry.name)
        record, before = progress.of(entry.name), progress.of(entry.name).hinted
        lines, record.hinted, record.hints = next_hint(spec, progress.mistake(entry), before, record.hints)
        progress.save()
        for line in lines:
            say(textwrap.fill(line, columns(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))
        if record.hinted != before:
            say(f"next: {command(options, 'hint', entry.name)} for the general hints")
    return 0


def show_solution(options: ExerciseOptions, say: Say) -> int:
    """Show the library's own source, after a pass or three failed tries."""
    folder = files.find_folder(options.folder)
    for entry in [find(name) for name in options.names] or [latest(folder)]:
        progress = Progress(folder)
        if not progress.solution_is_open(entry.name):
            tries = len(progress.of(entry.name).failed)
            raise InputError(
                f"the solution of {entry.name} is shown after a pass or {TRIES} failed tries (a try is a check of a file "
                f"that you changed; so far {tries}): `{command(options, 'hint', entry.name)}` helps."
            )
        say(solution(load(entry.name)))
    return 0


def reset(options: ExerciseOptions, say: Say) -> int:
    folder = files.find_folder(options.folder)
    if not options.names:
        raise InputError("say which exercise you want to start again: minilm exercise reset NAME.")
    for entry in files.named(options.names):
        old = files.reset(folder, entry, guided=not options.bare)
        kept = f"; your earlier file is now {old}" if old else ""
        say(f"{folder / (entry.stem + '.py')} is a new stub{kept}.")
    return 0


def quality(options: ExerciseOptions, say: Say) -> int:
    """Write exercises_quality.json, and the same as tables in Markdown. Returns 1 if a bar is not met."""
    from minilm.exercises.quality.report import report

    return report(options.names, options.seeds, say)


def teach(options: ExerciseOptions, say: Say) -> int:
    from minilm.exercises.grading import teacher
    from minilm.exercises.grading.grade import Limits

    if options.action == "handout":
        return teacher.handout(options.names, options.out, options.bare, say)
    if options.action == "solutions":
        return teacher.solutions(options.names, options.out, say)
    limits = Limits(options.seconds, options.memory)
    return teacher.grade(options.names, options.out, options.seed, limits, say)


def command(options: ExerciseOptions, action: str, name: str) -> str:
    """The command to type, with --folder if it was given."""
    where_to = "" if options.folder == files.DEFAULT else f" --folder {options.folder}"
    return f"minilm exercise {action} {name}".rstrip() + where_to
