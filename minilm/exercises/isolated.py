"""One submission to one exercise in a process of its own, with limits; what it leaves behind is arrays, read with care.

Nothing that comes from the child is a verdict. `Attempt.work` answers the cases of a plan, and `checks.decide` decides
here, in a process that the learner's code has never seen.
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
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minilm.exercises import guard
from minilm.exercises.child import LARGEST, READY, UNREADY
from minilm.exercises.jobs import JobObject
from minilm.exercises.own_work import FOREIGN, REFUSED
from minilm.exercises.plan import Plan, Work
from minilm.exercises.running import Case, Outcome, Output

STARTING = 900.0  # seconds in which Python and the libraries must be there, on a machine that does much else
WAITING = 600.0  # … and ten times the limit: the child counts its own time, this is for one that cannot any more
GONE = "no answer"
NOT_NEEDED = "tried to start a program, change files elsewhere, go online, trace, or run text as code"
MOST = 256 << 20  # bytes of all answers
KEPT = (
    *("PATH", "SYSTEMROOT", "WINDIR", "TMP", "TEMP", "TMPDIR", "LANG", "LC_ALL"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
)


@dataclass(frozen=True)
class Attempt:
    """What a child left behind: `said` (verdict, line, …) before anything ran, the outcomes by number, and how it ended."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    ended: tuple[str, str] = ("", "")  # (verdict, sentence); empty: by itself
    seconds: float = 0.0

    def work(self, plan: Plan) -> Work:
        """What `decide` asks. A case to which the child did not come has the error GONE."""
        numbers = {case: i for i, case in enumerate(plan.cases)}

        def work(case: Case) -> Outcome:
            return self.outcomes.get(numbers[case], Outcome(error=GONE))

        return work


def attempt(exercise: str, stem: str, source: bytes, seed: int, seconds: float, megabytes: int) -> Attempt:
    """Run `source`, the learner's file, on the cases of that seed. Whatever it does, this returns."""
    with tempfile.TemporaryDirectory(prefix="minilm-grade-", ignore_cleanup_errors=True) as folder:
        home, results = Path(folder, "home"), Path(folder, "results")
        home.mkdir()
        results.mkdir()
        path = home / f"{stem}.py"
        path.write_bytes(source)
        job = {"exercise": exercise, "path": str(path), "results": str(results), "seed": seed}
        job |= {"seconds": seconds, "megabytes": megabytes}
        ended, took = start(job, home, seconds, megabytes)
        said = spoken(results / "said.json")
        outcomes, size = {}, 0
        while size <= MOST and (outcome := unpacked(results / f"{len(outcomes)}.npz")) is not None:
            size += sum(array.nbytes for array in outcome.arrays)
            outcomes[len(outcomes)] = outcome
        return Attempt(outcomes, said, ended, took)


def start(job: dict, home: Path, seconds: float, megabytes: int) -> tuple[tuple[str, str], float]:
    """Run the child to its end, or end it. Returns how it ended, and its seconds."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-B", "-X", "utf8", "-m", "minilm.exercises.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=home,
        env=surroundings(),
        start_new_session=True,
    )
    with JobObject(child, megabytes << 20):
        begun = time.monotonic()
        clock = threading.Timer(STARTING, child.kill)
        clock.start()
        try:
            with contextlib.suppress(OSError):
                child.stdin.write(json.dumps(job).encode() + b"\n")
                child.stdin.close()
            ready = child.stdout.readline() == READY
            clock.cancel()
            begun = time.monotonic()
            code = child.wait(WAITING + 10 * seconds) if ready else None
            ended = ending(code, seconds, megabytes) if ready else ("not run", "Python did not start: run it again")
        except subprocess.TimeoutExpired:
            ended = ending(guard.TIME, seconds, megabytes)
        finally:
            clock.cancel()
            end(child)
        return ended, time.monotonic() - begun


def surroundings() -> dict[str, str]:
    """The environment of the child: what Python needs to start, none of the teacher's own variables."""
    paths = [str(guard.LIBRARY.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    found = {name: os.environ[name] for name in KEPT if name in os.environ}
    found["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths if path)
    return found | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def end(child: subprocess.Popen) -> None:
    """The child, and whatever it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        child.kill()
    child.wait()
    child.stdout.close()


def ending(code: int, seconds: float, megabytes: int) -> tuple[str, str]:
    """(verdict, sentence) for an exit code."""
    endless = f"still running after {seconds:g} seconds: is there a loop that never ends?"
    return {
        0: ("stopped", "the code ended Python itself before all answers were there"),
        guard.FOREIGN: (FOREIGN, "while it ran, the code reached into the library."),
        guard.REFUSED: (REFUSED, f"while it ran, the code {NOT_NEEDED}."),
        guard.TIME: ("time", endless),
        -getattr(signal, "SIGXCPU", -guard.TIME): ("time", endless),
        guard.MEMORY: ("memory", f"the code took more than {megabytes} MB of memory"),
    }.get(code, ("stopped", f"the code ended Python itself before all answers were there (exit code {code})"))


def spoken(path: Path) -> tuple[str, ...]:
    """What the child said before the code ran: (verdict, lines …)."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(1 << 16))
        verdict, *lines = (plain(part, 1000) for part in said)
    except (OSError, ValueError, TypeError, RecursionError):
        return ()
    return (verdict, *lines) if verdict in (UNREADY, FOREIGN, REFUSED) else ()


def unpacked(path: Path) -> Outcome | None:
    """One outcome; None where there is none, or nothing that can be read. Arrays of plain numbers and text only."""
    try:
        content = path.read_bytes() if path.stat().st_size <= 2 * LARGEST else b""
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            if sum(part.file_size for part in parts.infolist()) > 2 * LARGEST:
                return None
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            rest = json.loads(found["rest"].tobytes())
            outputs = {
                plain(name): Output(found[f"output{i}"], plain(kind)) for i, (name, kind) in enumerate(rest["outputs"])
            }
        changed = tuple(plain(name) for name in rest["changed"])
        texts = plain(rest["error"]), plain(rest["line"])
        return Outcome(outputs, *texts, changed, bool(rest["unsteady"]), plain(rest["drew"]))
    except Exception:  # whatever a hostile file may hold: it is no answer
        return None


def plain(text: object, longest: int = 300) -> str:
    """One line of what a child said: nothing in it can break a table, or a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:longest])
