"""The command in a fresh interpreter: no crash, the same verdicts every time, and no import outside the main thread.

Python crashes if one thread uses a module that another one is still importing. A crash of this kind comes and goes with the
timing, so the command is started several times at once; for more of them:

    MINILM_FRESH=20 python -m pytest tests/exercises/grading/test_fresh_process.py
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import TOP

from minilm.exercises.catalogue import find
from minilm.exercises.grading import grade as grading
from minilm.exercises.grading.sources import Found
from minilm.exercises.grading.submissions import Submission

TIMES = int(os.environ.get("MINILM_FRESH", "2"))
SOFTMAX = """import numpy as np
def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
"""
ATTENTION = """import torch
def attention(q, k, v, may_attend=None, dropout=None, bias=None):
    return q @ k @ v
"""
IMPORTS = """
import sys, threading
from pathlib import Path
late = []
def hook(event, arguments):
    ours = arguments and str(arguments[0]).split(".")[0] not in sys.stdlib_module_names
    if event == "import" and ours and threading.current_thread() is not threading.main_thread():
        late.append(arguments[0])
from minilm.cli import main
sys.addaudithook(hook)
code = main(["exercise", "grade", "in", "softmax", "attention", "--seed", "7"])
assert code == 0 and not late, (code, late)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for learner in ("anna", "ben"):
        Path("in", learner).mkdir(parents=True)
    Path("in/anna/e01_softmax.py").write_text(SOFTMAX, encoding="utf-8")
    Path("in/anna/e10_attention.py").write_text(ATTENTION, encoding="utf-8")
    cells = [{"cell_type": "code", "source": SOFTMAX.replace("-1", "0")}, {"cell_type": "code", "source": ATTENTION}]
    Path("in/ben/work.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


def test_the_command_gives_the_same_verdicts_in_every_fresh_process(here):
    command = [sys.executable, "-m", "minilm.cli", "exercise", "grade", "in", "softmax", "attention", "--seed", "7"]
    started = [
        subprocess.Popen([*command, "--out", f"{i}.csv"], env=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for i in range(TIMES)
    ]
    for i, child in enumerate(started):
        said, _ = child.communicate(timeout=600)
        assert child.returncode == 0, said.decode(errors="replace")
        with open(f"{i}.csv", encoding="utf-8-sig", newline="") as file:
            rows = [(row["learner"], row["softmax"], row["attention"]) for row in csv.DictReader(file)]
        assert rows == [("anna", "passed", "failed"), ("ben", "failed", "failed")]


def test_only_the_main_thread_imports_anything(here):
    ran = subprocess.run([sys.executable, "-c", IMPORTS], env=here, capture_output=True, text=True, encoding="utf-8")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("broken", ["decide", "plan_of"])
def test_a_decision_that_fails_is_no_verdict(monkeypatch, broken):
    """A mistake of ours, or answers of an unforeseen kind, must not look like a mistake of the learner."""

    def fails(*_):
        raise AttributeError("partially initialized module 'torch' has no attribute 'Tensor'")

    monkeypatch.setattr(grading, broken, fails)
    submission = Submission("anna", {"e01_softmax.py": SOFTMAX.encode()})
    (found,) = grading.grade([submission], [find("softmax")], 0, grading.Limits())
    assert (
        found.verdict == "not run" and "AttributeError: partially initialized" in found.message and found.layer is None
    )


def test_a_submission_that_cannot_be_read_is_no_verdict(monkeypatch):
    def fails(*_):
        raise KeyError("unforeseen")

    monkeypatch.setattr(grading, "source_for", fails)
    (found,) = grading.grade([Submission("anna")], [find("softmax")], 0, grading.Limits())
    assert found.verdict == "not run" and "could not be read (KeyError)" in found.message
    monkeypatch.setattr(grading, "source_for", lambda *_: Found())
    (found,) = grading.grade([Submission("anna")], [find("softmax")], 0, grading.Limits())
    assert found.verdict == "missing"
