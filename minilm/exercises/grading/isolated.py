"""Run one submission to one exercise in a process of its own, with limits, and read the arrays that it leaves, with care.

Nothing that comes from the child is a verdict. `Attempt.work` returns the outcomes for the cases of a plan, and
`checks.decide` decides about them here, in a process in which the learner's code never runs.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minilm.exercises.grading import guard
from minilm.exercises.grading.child import LARGEST, READY
from minilm.exercises.grading.own_work import ABSENT, FOREIGN, REFUSED, UNREADY
from minilm.exercises.grading.windows_job import JobObject
from minilm.exercises.plan import Plan, Work
from minilm.exercises.running import Case, Outcome, Output

STARTING = 900.0  # seconds that Python and the libraries may take to start, even on a very busy machine
WAITING = 600.0  # seconds beyond ten times the limit, for a child that no longer watches its own time
GONE = "no answer"
NOTHING: Mapping[str, bytes] = {}
NOT_NEEDED = "tried to start a program, change files elsewhere, go online, trace, or run text as code, by itself or through a package"
MOST = 256 << 20  # bytes of all answers together
KEPT = (
    *("PATH", "SYSTEMROOT", "WINDIR", "TMP", "TEMP", "TMPDIR", "LANG", "LC_ALL"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
)


@dataclass(frozen=True)
class Attempt:
    """What a child left: `said` (verdict, line, …) before the code ran, the outcomes by case number, and how it ended."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    ended: tuple[str, str] = ("", "")  # (verdict, sentence) if it did not end normally
    seconds: float = 0.0
    failed: str = ""  # which cells of a notebook stopped with an error, in words
    held: tuple[str, ...] = ()  # what the system refused it, as `sandbox.hold_back` says

    def work(self, plan: Plan) -> Work:
        """A function from a case to its outcome. A case that the child did not reach has the error GONE."""
        numbers = {case: i for i, case in enumerate(plan.cases)}

        def work(case: Case) -> Outcome:
            return self.outcomes.get(numbers[case], Outcome(error=GONE))

        return work


def attempt(
    exercise: str,
    stem: str,
    source: bytes,
    seed: int,
    seconds: float,
    megabytes: int,
    cells: bool = False,
    beside: Mapping[str, bytes] = NOTHING,
) -> Attempt:
    """Run `source`, the learner's file, on the cases of that seed. `cells`: it is a notebook, its cells as a JSON list.
    `beside`: the files that it may import. This returns whatever the code does."""
    with tempfile.TemporaryDirectory(prefix="minilm-grade-", ignore_cleanup_errors=True) as folder:
        home, results = Path(folder, "home"), Path(folder, "results")
        home.mkdir()
        results.mkdir()
        path = home / (f"{stem}.json" if cells else f"{stem}.py")
        for name, content in beside.items():
            with contextlib.suppress(OSError, ValueError):  # a name that this system does not allow
                (home / name).write_bytes(content)
        path.write_bytes(source)
        job = {"exercise": exercise, "path": str(path), "results": str(results), "seed": seed, "cells": cells}
        job |= {"seconds": seconds, "megabytes": megabytes}
        ended, took, held = start(job, home, seconds, megabytes)
        if ended[0] in ("time", "memory", "stopped") and (where := stopped_in(results / "cell.json")):
            ended = ended[0], f"{where}: {ended[1]}"
        said = said_before_running(results / "said.json")
        outcomes: dict[int, Outcome] = {}
        size = 0
        while size <= MOST and (outcome := unpacked(results / f"{len(outcomes)}.npz")) is not None:
            size += sum(array.nbytes for array in outcome.arrays)
            outcomes[len(outcomes)] = outcome
        return Attempt(outcomes, said, ended, took, failed_cells(results / "failed.json"), held)


def start(job: dict, home: Path, seconds: float, megabytes: int) -> tuple[tuple[str, str], float, tuple[str, ...]]:
    """Run the child, and end it if it takes too long. Returns how it ended, the seconds it took, and what it was refused."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-B", "-X", "utf8", "-m", "minilm.exercises.grading.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=home,
        env=surroundings() | {"TMPDIR": str(home), "TMP": str(home), "TEMP": str(home)},
        start_new_session=True,
    )
    assert child.stdin and child.stdout
    with JobObject(child, megabytes << 20):
        begun = time.monotonic()
        clock = threading.Timer(STARTING, child.kill)
        clock.start()
        held: tuple[str, ...] = ()
        try:
            with contextlib.suppress(OSError):
                child.stdin.write(json.dumps(job).encode() + b"\n")
                child.stdin.close()
            ready, *known = child.stdout.readline().split() or [b""]
            held = tuple(what.decode() for what in known)
            clock.cancel()
            begun = time.monotonic()
            ended = "not run", "Python did not start: grade again"
            if ready == READY:
                ended = ending(child.wait(WAITING + 10 * seconds), seconds, megabytes)
        except subprocess.TimeoutExpired:
            ended = ending(guard.TIME, seconds, megabytes)
        finally:
            clock.cancel()
            end(child)
        return ended, time.monotonic() - begun, held


def surroundings() -> dict[str, str]:
    """The child's environment variables: only what Python needs to start, and none of the teacher's own."""
    paths = [str(guard.LIBRARY.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    found = {name: os.environ[name] for name in KEPT if name in os.environ}
    found["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths if path)
    found |= {"MPLBACKEND": "Agg"}  # plt.show() shows nothing, and does not wait for somebody to close a window
    return found | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def end(child: subprocess.Popen) -> None:
    """End the child, and all processes that it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        child.kill()
    child.wait()
    if child.stdout:
        child.stdout.close()


def ending(code: int, seconds: float, megabytes: int) -> tuple[str, str]:
    """The verdict for an exit code, and the sentence that explains it."""
    endless = f"still running after {seconds:g} seconds: is there a loop that never ends?"
    return {
        0: ("stopped", "the code ended Python itself before all answers were there"),
        guard.FOREIGN: (FOREIGN, "while it ran, the code reached into the library."),
        guard.REFUSED: (REFUSED, f"while it ran, the code {NOT_NEEDED}."),
        guard.TIME: ("time", endless),
        -getattr(signal, "SIGXCPU", -guard.TIME): ("time", endless),
        guard.MEMORY: ("memory", f"the code took more than {megabytes} MB of memory"),
    }.get(code, ("stopped", f"the code ended Python itself before all answers were there (exit code {code})"))


def said_before_running(path: Path) -> tuple[str, ...]:
    """(verdict, lines …) if the child has refused the code before running it, else ()."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(1 << 16))
        verdict, *lines = (printable(part, 1000) for part in said)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return ()
    return (verdict, *lines) if verdict in (UNREADY, ABSENT, FOREIGN, REFUSED) else ()


def failed_cells(path: Path) -> str:
    """Which cells of a notebook stopped with an error, and with which."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(1 << 12))
        return "; ".join(f"cell {int(cell)} stops with {printable(error, 160)}" for cell, error in found)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return ""


def stopped_in(path: Path) -> str:
    """The cell of a notebook that was running when the child ended, and the one that took longest; "" if none was."""
    try:
        with path.open("rb") as file:
            cell, count, slowest, seconds = json.loads(file.read(1 << 10))
        earlier = f" (before it, cell {int(slowest)} took {float(seconds):.1f} s)" if slowest and seconds >= 1 else ""
        return f"cell {int(cell)} of {int(count)}{earlier}"
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return ""


def unpacked(path: Path) -> Outcome | None:
    """One outcome, or None if there is no readable one. Only arrays of plain numbers and text are accepted."""
    try:
        content = path.read_bytes() if path.stat().st_size <= 2 * LARGEST else b""
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            if sum(part.file_size for part in parts.infolist()) > 2 * LARGEST:
                return None
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            rest = json.loads(found["rest"].tobytes())
            outputs = {
                printable(name): Output(found[f"output{i}"], printable(kind))
                for i, (name, kind) in enumerate(rest["outputs"])
            }
        changed = tuple(printable(name) for name in rest["changed"])
        texts = printable(rest["error"]), printable(rest["line"])
        return Outcome(outputs, *texts, changed, bool(rest["unsteady"]), printable(rest["drew"]))
    except Exception:  # whatever a hostile file contains, it is not an answer
        return None


def printable(text: object, longest: int = 300) -> str:
    """A text from a child as one line that cannot break a table or a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:longest])
