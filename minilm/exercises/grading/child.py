"""The process in which one submission to one exercise runs:  python -m minilm.exercises.grading.child

`isolated.py` starts it. It reads its job from the first line of its input, draws the inputs from the seed, runs the learner's
function on them and writes the outcome of each case into a file of its own. These outcomes are arrays; none of them says
whether an answer is right or wrong.
"""

import contextlib
import importlib
import io
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from minilm.exercises import learner
from minilm.exercises.catalogue import load
from minilm.exercises.grading import guard, sandbox
from minilm.exercises.grading.own_work import UNREADY, violation_in
from minilm.exercises.grading.solutions import granted
from minilm.exercises.plan import Plan
from minilm.exercises.running import Outcome, run

WAITING = 30.0  # seconds by the clock, beyond three times the limit of processor time: ends code that sleeps
READY = b"ready"  # followed by what the system refuses (`sandbox`)
LARGEST = 16 << 20  # bytes of one answer


def main() -> None:
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    path, results = Path(job["path"]), Path(job["results"])
    exercise = load(job["exercise"])
    cases, given = Plan(exercise, job["seed"]).cases, granted(exercise)
    source = path.read_bytes()
    if b"torch" in source:
        importlib.import_module("torch")  # so that this large library does not count as the learner's memory
    if job["cells"]:
        from minilm.exercises.grading import namespace, shell  # IPython, which only notebooks need

        notebook = shell.Notebook(path.parent)
    held = sandbox.hold_back(results.parent)  # before any thread is started, so that it holds for all of them
    limit(job["megabytes"] << 20, job["seconds"])
    os.write(1, b" ".join([READY, *(what.encode() for what in held)]) + b"\n")
    # The parent's clock starts now, so that slow imports do not count.
    silence()
    deny = guard.watch(path.parent, cells=job["cells"])
    guard.keep_our_tools()
    said: tuple[str, ...] | None
    try:
        if job["cells"]:
            tell = lambda *numbers: save(results / "cell.json", json.dumps(numbers).encode())  # noqa: E731
            pieces, said = namespace.from_notebook(exercise, notebook, json.loads(source), given, tell, deny)
            (results / "cell.json").unlink(missing_ok=True)
            save(results / "failed.json", json.dumps(sorted(notebook.failed.items())[:3]).encode())
        else:
            said = violation_in(path, exercise)
            pieces = {} if said else learner.load(exercise, path, guard.hidden(given))
    except learner.Unready as unready:
        said = UNREADY, *unready.lines
    if said:
        save(results / "said.json", json.dumps(said).encode())
        os._exit(0)
    around = notebook.shell.builtin_trap if job["cells"] else contextlib.nullcontext()
    with guard.hidden(given), around:
        for i, case in enumerate(cases):
            save(results / f"{i}.npz", packed(run(exercise, pieces, case)))
    os._exit(0)  # ends all threads as well


def packed(outcome: Outcome) -> bytes:
    """One outcome in the .npz format: its arrays, and everything else as JSON in an array of bytes."""
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
    arrays: dict[str, Any] = {f"output{i}": np.asarray(array) for i, array in enumerate(outcome.arrays)}
    growing = io.BytesIO()
    np.savez(growing, rest=np.frombuffer(json.dumps(rest).encode(), np.uint8), **arrays)
    return growing.getvalue()


def save(path: Path, content: bytes) -> None:
    """Write a file in one step, because the process may be ended at any moment."""
    growing = path.with_suffix(".part")
    growing.write_bytes(content)
    os.replace(growing, path)


def silence() -> None:
    """Discard what the learner's code prints, and give it no input to read."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)


def limit(memory: int, seconds: float) -> None:
    """End this process once it has used `memory` bytes or `seconds` of processor time more than now.

    Code that sleeps is ended after a number of rounds of the watching thread. On a busy machine each round takes longer, so
    the code gets more time there.
    """
    rounds = int((WAITING + 3 * seconds) / 0.05)
    start, parent = (largest(), time.process_time()), os.getppid()

    def look(leave=os._exit, clock=time.process_time, pause=time.sleep, of=os.getppid) -> None:
        for _ in range(rounds):
            if of() != parent:
                leave(1)  # the parent has ended, so nobody will read the results
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
        return  # on Windows, the parent's job object also limits the memory
    with contextlib.suppress(OSError, ValueError):  # on Linux; macOS has only the watching thread
        now = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    processor = 10 + int(time.process_time() + 2 * seconds)  # in case one endless call keeps the thread from running
    for what, most, end in (("CPU", processor, processor + 5), ("CORE", 0, 0), ("FSIZE", 64 << 20, 64 << 20)):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (most, end))


def largest() -> int:
    """The peak memory of this process in bytes; 0 where Python cannot tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
