"""Runs notebooks as their readers do: whole, and then once more for every change that they are told to try.

    python learner.py < work.jsonl > reports.jsonl

Each line of `work` is one notebook: its code cells, and for each change the number of the first cell that differs, all cells
from there on, and how many of them draw their pictures; also the folder to run in, and what to add to the environment. Its
report, a line too, says what was raised, printed and shown. The notebook runs once, with every claim an error, as when it is
built. Before a cell that a change replaces, the process is forked: the child runs the changed cells to the end (from the
beginning where there is no fork), as a reader does, for whom a claim is only a sentence.

The libraries are imported once, and each notebook gets a fork of that process; so a notebook starts in no time, and nothing
of one reaches the next. (Where there is no fork, give one line.) Not a test file; `tests/readers.py` calls it.
"""

import base64
import importlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

FORKS = sys.platform == "linux"
# What most notebooks import. Not minilm.viz.teaching, and what imports it: it reads MINILM_FAST, which is a notebook's own.
COMMON = (
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.figure", "scipy.stats"),
    *("sklearn.feature_extraction.text", "sklearn.linear_model", "tokenizers", "torch"),
    *("minilm.jobs.pretrain", "minilm.training.supervised", "minilm.viz.schematics"),
)
RAISED: list[BaseException | None] = []  # what IPython would have shown, also while a picture is drawn
SHOWN: list[dict] = []  # the value in a cell's last line, in all its forms


class Also(io.StringIO):
    """Keeps what is written to it, and writes it to another one as well."""

    def __init__(self, other: io.StringIO):
        super().__init__()
        self.other = other

    def write(self, text: str) -> int:
        self.other.write(text)
        return super().write(text)


def shell() -> InteractiveShell:
    """IPython without its history (a database and a thread): cells, magics, and the picture in a cell's last line."""
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.showtraceback = lambda *arguments, **options: RAISED.append(sys.exc_info()[1])
    made.displayhook.write_output_prompt = lambda: None  # a value is printed as a notebook shows it, without "Out[3]:"
    made.displayhook.write_format_data = lambda data, metadata=None: SHOWN.append(data)
    return made


def run(cells: list[str], building: bool, first: int = 0, drawn: int | None = None) -> tuple[str, list[dict]]:
    """Run the cells; the first `drawn` of them draw their pictures. Returns what was raised and where ("" if nothing was),
    and what each cell printed and showed: {"out": …, "err": the part of it that went to stderr, "shown": […]}.
    """
    os.environ["MINILM_BUILD"] = "1" if building else "0"
    outputs = []
    for number, cell in enumerate(cells, start=first):
        if drawn is not None and number == first + drawn:
            InteractiveShell.instance().display_formatter.active_types = ["text/plain"]
        SHOWN.clear()
        out = io.StringIO()
        err = Also(out)
        with redirect_stdout(out), redirect_stderr(err):
            result = InteractiveShell.instance().run_cell(cell)
        outputs.append({"out": out.getvalue(), "err": err.getvalue(), "shown": [in_text(data) for data in SHOWN]})
        if error := result.error_before_exec or result.error_in_exec or (RAISED and RAISED[0]):
            return f"code cell {number + 1}: {type(error).__name__}: {error}\n{cell}", outputs
    return "", outputs


def in_text(data: dict) -> dict:
    """A value in its forms, a PNG in base64, as in a notebook file."""
    return {mime: base64.b64encode(each).decode() if isinstance(each, bytes) else each for mime, each in data.items()}


def in_a_fork(task: Callable[[], object]) -> tuple[object, int, float]:
    """What the task returns in a copy of this process (None if that died), its exit status and its CPU seconds; this process
    stays as it is."""
    sys.stdout.flush()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        found = task()
        with os.fdopen(write, "wb") as pipe:
            pipe.write(json.dumps(found).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        found = json.loads(pipe.read() or "null")
    _, status, used = os.wait4(child, 0)
    return found, status, round(used.ru_utime + used.ru_stime, 1)


def tried(change: dict) -> tuple[str, list[dict]]:
    """What `run` says of a changed notebook."""
    try:
        return run(change["cells"], building=False, first=change["first"], drawn=change["drawn"])
    except BaseException as error:  # even SystemExit: a reader's session would be over
        return f"from code cell {change['first'] + 1} on: {type(error).__name__}: {error}", []


def follow(cells: list[str], changes: list[dict]) -> dict:
    """Run the notebook and every change. Returns {"whole": what the notebook raised, "outputs": what each of its cells printed
    and showed, "changes": [what each raised, …], "prints": [what each printed, …], "seconds": […]}.
    """
    said, prints, seconds = [""] * len(changes), [""] * len(changes), [0.0] * len(changes)
    whole, outputs = "", []
    shell()
    for number, cell in enumerate([*cells, ""]):
        for at, change in enumerate(changes):
            if FORKS and change["first"] == number:
                found, status, seconds[at] = in_a_fork(partial(tried, change))
                said[at], made = found or (f"the process died (status {status})", [])
                prints[at] = printed(made)
        raised, made = run([cell], building=True, first=number)
        whole, outputs = whole or raised, outputs + made
    if not FORKS:
        for at, change in enumerate(changes):
            InteractiveShell.instance().reset(new_session=False)
            said[at], _ = run(cells[: change["first"]], building=False)
            if not said[at]:
                said[at], made = tried(change)
                prints[at] = printed(made)
    return {"whole": whole, "outputs": outputs[: len(cells)], "changes": said, "prints": prints, "seconds": seconds}


def printed(outputs: list[dict]) -> str:
    """What the cells printed, and the values in their last lines, as a terminal has them."""
    return "".join(cell["out"] + "".join(f"{data['text/plain']}\n" for data in cell["shown"]) for cell in outputs)


def report(work: dict) -> dict:
    """`follow` in the folder and with the environment of the work."""
    os.chdir(work["folder"])
    os.environ.update(work["environment"])
    tempfile.tempdir = None  # so that TMPDIR is read again
    return follow(work["cells"], work["changes"])


def main() -> None:
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a program prints that a notebook starts is no report
    for name in COMMON:
        importlib.import_module(name)
    assert "minilm.viz.teaching" not in sys.modules
    for line in sys.stdin:
        work = json.loads(line)
        if FORKS:
            found, status, _ = in_a_fork(partial(report, work))
            found = found or {"died": f"the process died (status {status})"}
        else:
            found = report(work)
        print(json.dumps(found), file=reports, flush=True)


if __name__ == "__main__":
    main()
