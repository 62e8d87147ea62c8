"""A learner's code that waits for something: the check ends, whatever it waits for."""

import os
import subprocess
import sys

import pytest
from pages import TOP

from minilm.exercises.catalogue import load
from minilm.exercises.learner import check_file

PROGRAM = """
import sys
from pathlib import Path
from minilm.exercises.catalogue import load
from minilm.exercises.learner import check_file
for path in sys.argv[1:]:
    print("checked:", check_file(load("softmax"), Path(path), patience=0.5), flush=True)
"""
WAITING = {
    "the terminal": "import sys\nsys.__stdin__.readline()",
    "an open file": "import os\nos.read(0, 1)",
    "sleep": "import time\ntime.sleep(600)",
    "a lock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "a queue": "import queue\nqueue.Queue().get()",
    "a thread": "import threading, time\nt = threading.Thread(target=time.sleep, args=(600,), daemon=True)\nt.start()\nt.join()",
}


@pytest.mark.skipif(
    not hasattr(__import__("signal"), "pthread_kill"), reason="Windows cannot wake a call that waits (2026-11-26)"
)
def test_the_time_limit_wakes_whatever_waits(tmp_path):
    """One after the other, as with `watch`, in a process whose input stays open and silent."""
    paths = []
    for number, code in enumerate(WAITING.values()):
        path = tmp_path / str(number) / "e01_softmax.py"
        path.parent.mkdir()
        path.write_text(code, encoding="utf-8")
        paths.append(path)
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *paths],
        env={**os.environ, "PYTHONPATH": str(TOP), "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        child.wait(300)
    except subprocess.TimeoutExpired:
        pass  # the first of which nothing is said is the one that still waits
    finally:
        child.kill()
    said = child.stdout.read().decode().split("checked:")[1:]
    child.stdin.close()
    child.stdout.close()
    for number, what in enumerate(WAITING):
        assert "your code was still running after 0 seconds" in "".join(said[number : number + 1]), (what, said)


@pytest.mark.parametrize("where", ["{}\ndef softmax(z):\n    return z\n", "def softmax(z):\n    {}\n    return z\n"])
def test_nobody_answers_input(tmp_path, where):
    asking = input
    (path := tmp_path / "e01_softmax.py").write_text(where.format("name = input('your name? ')"), encoding="utf-8")
    report = " ".join(str(check_file(load("softmax"), path)).split())
    assert "EOFError: input() waits for somebody to type, but nobody does" in report
    path.write_text(where.format("import sys; sys.stdin.readline()"), encoding="utf-8")
    assert "layer 2 of 7" in str(check_file(load("softmax"), path))  # an empty line, and on it goes
    assert input is asking


@pytest.mark.parametrize(
    ("loop", "said"),
    [("while True", "is there a loop that never ends?"), ("for _ in range(most + 1)", "expected")],
)
def test_a_loop_that_outlasts_the_epochs_is_no_mistake_in_an_index(tmp_path, loop, said):
    """`fit` may train for `most` epochs; what comes after the last one is a loop that never ends, or too many epochs."""
    body = "        train_epoch(model)\n        held_out_loss(model)\n    return most\n"
    code = f"def fit(model, train_epoch, held_out_loss, patience, most):\n    {loop}:\n{body}"
    (path := tmp_path / "e38_early_stopping.py").write_text(code, encoding="utf-8")
    report = str(check_file(load("early_stopping"), path, patience=1.0 if loop == "while True" else 60.0))
    assert said in report and "IndexError" not in report
