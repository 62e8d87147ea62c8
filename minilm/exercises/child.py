"""The process in which one submission to one exercise runs:  python -m minilm.exercises.child  (started by `isolated.py`).

It reads what to do from its first line of input, draws the inputs from the seed, runs the learner's function on them and
writes what came of each case into a file of its own: arrays, and nothing that says right or wrong.
"""

import ast
import contextlib
import importlib
import io
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from minilm.exercises import guard, learner
from minilm.exercises.catalogue import load
from minilm.exercises.own_work import gives, objection
from minilm.exercises.plan import Plan
from minilm.exercises.running import Outcome, run

WAITING = 30.0  # seconds, and three times those of the processor: for code that sleeps
READY = b"ready\n"
UNREADY = "unready"
LARGEST = 16 << 20  # bytes of one answer


def main() -> None:
    job = json.loads(sys.stdin.readline())
    path, results = Path(job["path"]), Path(job["results"])
    exercise = load(job["exercise"])
    cases, given = Plan(exercise, job["seed"]).cases, gives(exercise)
    if b"torch" in path.read_bytes():
        importlib.import_module("torch")  # the largest library of all is not counted as the learner's memory
    limit(job["megabytes"] << 20, job["seconds"])
    os.write(1, READY)  # the clock of the parent starts now: slow imports are not the learner's fault
    silence()
    guard.watch(path.parent)
    guard.keep_our_tools()
    try:
        said = refuse(learner.read(path), exercise)
        pieces = None if said else learner.load(exercise, path, guard.hidden(given))
    except learner.Unready as unready:
        said = UNREADY, *unready.lines
    if said:
        save(results / "said.json", json.dumps(said).encode())
        os._exit(0)
    with guard.hidden(given):
        for i, case in enumerate(cases):
            save(results / f"{i}.npz", packed(run(exercise, pieces, case)))
    os._exit(0)  # whatever threads there are


def refuse(text: str, exercise) -> tuple[str, str] | None:
    try:
        return objection(exercise, ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # learner.load says what is wrong


def packed(outcome: Outcome) -> bytes:
    """One outcome as an .npz: its arrays, and the rest as JSON in an array of bytes."""
    if (size := sum(array.nbytes for array in outcome.arrays)) > LARGEST:
        shapes = ", ".join(str(list(array.shape)) for array in outcome.arrays)
        outcome = Outcome(error=f"ValueError: the output {shapes} has {size >> 20} MB, far more than the right one")
    rest = {
        "outputs": [[name, output.kind] for name, output in outcome.outputs.items()],
        "error": outcome.error,
        "line": outcome.line,
        "changed": outcome.changed,
        "unsteady": outcome.unsteady,
        "drew": outcome.drew,
    }
    arrays = {f"output{i}": np.asarray(array) for i, array in enumerate(outcome.arrays)}
    growing = io.BytesIO()
    np.savez(growing, rest=np.frombuffer(json.dumps(rest).encode(), np.uint8), **arrays)
    return growing.getvalue()


def save(path: Path, content: bytes) -> None:
    """All of it or nothing: the process may be ended at any moment."""
    growing = path.with_suffix(".part")
    growing.write_bytes(content)
    os.replace(growing, path)


def silence() -> None:
    """Nobody reads what the learner's code prints, and it has nothing to ask."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)


def limit(memory: int, seconds: float) -> None:
    """`memory` bytes and `seconds` of the processor more than now.

    It is no fault of the code that a machine is busy: code that sleeps is ended after so many rounds of this watch, which
    are longer when there is less to be had of the processor.
    """
    rounds = int((WAITING + 3 * seconds) / 0.05)
    start, parent = (largest(), time.process_time()), os.getppid()

    def look(leave=os._exit, clock=time.process_time, pause=time.sleep, of=os.getppid) -> None:
        for _ in range(rounds):
            if of() != parent:
                leave(1)  # an orphan has nobody to work for
            if clock() > start[1] + seconds:
                leave(guard.TIME)
            if largest() > start[0] + memory:
                leave(guard.MEMORY)
            pause(0.05)
        leave(guard.TIME)

    threading.Thread(target=look, daemon=True).start()
    try:
        import resource
    except ImportError:
        return  # on Windows the parent's job object limits the memory as well
    with contextlib.suppress(OSError, ValueError):  # Linux; macOS has the watching thread alone
        now = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    processor = 10 + int(time.process_time() + 2 * seconds)  # should one endless call keep the thread from looking
    for what, most, end in (("CPU", processor, processor + 5), ("CORE", 0, 0), ("FSIZE", 64 << 20, 64 << 20)):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (most, end))


def largest() -> int:
    """The most memory that this process has had, in bytes; 0 where Python cannot say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
