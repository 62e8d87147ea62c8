"""Runs one notebook as its readers do: whole, and then once more for every change that they are told to try.

    python learner.py < work.json > report.json

`work` holds the code cells of the notebook, and for each change the number of the first cell that differs, all cells from
there on, and how many of them draw their pictures. The report says what was raised, and what was printed. The notebook runs
once, with every claim an error, as when it is built. Before a cell that a change replaces, the process is forked: the child
runs the changed cells to the end (from the beginning where there is no fork), as a reader does, for whom a claim is only a
sentence. Not a test file.
"""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

FORKS = sys.platform == "linux"
RAISED: list[BaseException | None] = []  # what IPython would have shown, also while a picture is drawn


def shell() -> InteractiveShell:
    """IPython without its history (a database and a thread): cells, magics, and the picture in a cell's last line."""
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.showtraceback = lambda *arguments, **options: RAISED.append(sys.exc_info()[1])
    made.displayhook.write_output_prompt = lambda: None  # a value is printed as a notebook shows it, without "Out[3]:"
    return made


def run(cells: list[str], building: bool, first: int = 0, drawn: int | None = None) -> tuple[str, str]:
    """Run the cells; the first `drawn` of them draw their pictures. Returns what was raised and where ("" if nothing was),
    and all that was printed.
    """
    os.environ["MINILM_BUILD"] = "1" if building else "0"
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        for number, cell in enumerate(cells, start=first):
            if drawn is not None and number == first + drawn:
                InteractiveShell.instance().display_formatter.active_types = ["text/plain"]
            result = InteractiveShell.instance().run_cell(cell)
            if error := result.error_before_exec or result.error_in_exec or (RAISED and RAISED[0]):
                return f"code cell {number + 1}: {type(error).__name__}: {error}\n{cell}", printed.getvalue()
    return "", printed.getvalue()


def in_a_fork(cells: list[str], first: int, drawn: int) -> tuple[str, str, float]:
    """What `run` says of the cells in a copy of this process, and its CPU seconds; this process stays as it is."""
    sys.stdout.flush()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            found = run(cells, building=False, first=first, drawn=drawn)
        except BaseException as error:  # even SystemExit: a reader's session would be over
            found = f"from code cell {first + 1} on: {type(error).__name__}: {error}", ""
        with os.fdopen(write, "wb") as pipe:
            pipe.write(json.dumps(found).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said, printed = json.loads(pipe.read() or '["", ""]')
    _, status, used = os.wait4(child, 0)
    said = said or (f"the process died (status {status})" if status else "")
    return said, printed, round(used.ru_utime + used.ru_stime, 1)


def follow(cells: list[str], changes: list[dict]) -> dict:
    """Run the notebook and every change.

    Returns {"whole": what the notebook raised, "printed": …, "changes": [what each raised, …], "prints": […], "seconds": […]}.
    """
    said, prints, seconds = [""] * len(changes), [""] * len(changes), [0.0] * len(changes)
    whole, printed = "", ""
    shell()
    for number, cell in enumerate([*cells, ""]):
        for at, change in enumerate(changes):
            if FORKS and change["first"] == number:
                said[at], prints[at], seconds[at] = in_a_fork(change["cells"], number, change["drawn"])
        raised, out = run([cell], building=True, first=number)
        whole, printed = whole or raised, printed + out
    if not FORKS:
        for at, change in enumerate(changes):
            InteractiveShell.instance().reset(new_session=False)
            before, own = cells[: change["first"]], change["cells"]
            said[at], _ = run(before, building=False)
            if not said[at]:
                said[at], prints[at] = run(own, building=False, first=len(before), drawn=change["drawn"])
    return {"whole": whole, "printed": printed, "changes": said, "prints": prints, "seconds": seconds}


if __name__ == "__main__":
    work = json.load(sys.stdin)
    print(json.dumps(follow(work["cells"], work["changes"])))
