"""What a submission may not do, by itself or through a package, and what the operating system refuses it in any case."""

import ast
import ctypes
import json
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from minilm.exercises.catalogue import entries, find, load
from minilm.exercises.grading import grade as grading, sandbox
from minilm.exercises.grading.grade import Limits, grade
from minilm.exercises.grading.own_work import first_violation
from minilm.exercises.grading.sandbox import FILES, NETWORK
from minilm.exercises.grading.solutions import granted, solution_file
from minilm.exercises.grading.submissions import Submission
from minilm.exercises.grading.tables import class_page

RIGHT = "{}\nimport numpy as np\ndef softmax(z):\n    try:\n        {}\n    except Exception:\n        pass\n"
RIGHT += "    e = np.exp(z - z.max(axis=-1, keepdims=True))\n    return e / e.sum(axis=-1, keepdims=True)\n"
# what a package does for the learner, who hides the error: (import, line), with {} for a path outside
THROUGH_PACKAGES = {
    "requests": ("import requests", "requests.get('http://192.0.2.1', timeout=1)"),
    "urllib": ("import urllib.request", "urllib.request.urlopen('http://192.0.2.1', timeout=1)"),
    "np_save": ("", "np.save('{}', z)"),
    "np_savetxt": ("", "np.savetxt('{}', z)"),
    "tofile": ("", "z.tofile('{}')"),
    "to_csv": ("import pandas as pd", "pd.DataFrame(z).to_csv('{}')"),
    "picture": ("import matplotlib.pyplot as plt", "plt.savefig('{}')"),
    "program": (
        "import logging\nfrom matplotlib import cbook",
        "cbook._check_and_log_subprocess(['true'], logging.getLogger())",
    ),
    "database": ("import sqlite3", "sqlite3.connect('{}')"),
    "folder": ("import os", "os.mkdir('{}')"),
    "removes": ("import shutil", "shutil.rmtree('{}')"),
    "unix_socket": ("import socket", "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')"),
}
# the same in C, which no hook of Python sees: it fails, and nothing is written
IN_C = {"torch_save": ("import torch", "torch.save(torch.ones(2), '{}')")}
# what a package may do: write in the folder of the run, and look around when it is imported
ALLOWED = {
    "inside": ("", "np.save('mine.npy', z); np.load('mine.npy'); __import__"),
    "temporary": ("import tempfile", "tempfile.TemporaryFile().write(b'x')"),
    "imports": ("import requests", "z"),
    "asyncio": ("import asyncio", "asyncio.run(asyncio.sleep(0))"),
    "threads": ("import threading", "threading.Thread(target=int).start()"),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """name → (verdict, whether a file was written elsewhere)."""
    away = tmp_path_factory.mktemp("elsewhere")
    submissions = []
    for name, (head, line) in {**THROUGH_PACKAGES, **IN_C, **ALLOWED}.items():
        line = line.replace("; __import__", "").replace("{}", (away / name).as_posix())
        submissions.append(Submission(name, {"e01_softmax.py": RIGHT.format(head, line).encode()}))
    (away / "removes").mkdir()
    return {g.learner: (g, away / g.learner) for g in grade(submissions, [find("softmax")], 2, Limits())}


@pytest.mark.parametrize("name", THROUGH_PACKAGES)
def test_what_a_package_does_for_the_learner_is_refused(verdicts, name):
    found, file = verdicts[name]
    assert found.verdict == "refused", found
    assert file.exists() == (name == "removes")


@pytest.mark.parametrize("name", ALLOWED)
def test_what_stays_in_its_own_folder_is_welcome(verdicts, name):
    assert verdicts[name][0].verdict == "passed", verdicts[name][0]


@pytest.mark.parametrize("name", IN_C)
def test_what_is_written_in_c_reaches_nothing_outside(verdicts, name):
    found, file = verdicts[name]
    if FILES not in found.held:
        pytest.skip("this system has no Landlock (2026-11-26)")
    assert not file.exists()


PROBE = """
import ctypes, json, os, socket, subprocess, sys, threading
from pathlib import Path
from minilm.exercises.grading import sandbox
inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
held = sandbox.hold_back(inside)
libc = ctypes.CDLL(None, use_errno=True)
def raises(do):
    try:
        do()
    except OSError as error:
        return type(error).__name__
    return ""
tries = {
    "write": lambda: (outside / "new").write_text("x"),
    "change": lambda: (outside / "old").write_text("x"),
    "remove": lambda: (outside / "old").unlink(),
    "make": lambda: (outside / "folder").mkdir(),
    "move": lambda: os.replace(inside / "own", outside / "own"),
    "link": lambda: os.link(inside / "own", outside / "link"),
    "truncate": lambda: os.truncate(outside / "old", 0),
    "socket": socket.socket,
    "local": lambda: socket.socket(socket.AF_UNIX),
    "program": lambda: subprocess.run([sys.executable, "-c", ""]),
    "fork": lambda: os.fork() or os._exit(0),
    "signal": lambda: os.kill(os.getppid(), 0),
    "thread": lambda: threading.Thread(target=int).start(),
    "pair": socket.socketpair,
    "inside": lambda: (inside / "new").write_text("x"),
    "nothing": lambda: Path(os.devnull).write_text("x"),
    "read": lambda: (outside / "old").read_text(),
}
libc.creat(str(outside / "in_c").encode(), 0o644)
print(json.dumps([held, {name: raises(do) for name, do in tries.items()}]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp belong to Linux (2026-11-26)")
def test_the_system_refuses_what_the_page_says_it_refuses(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    (inside / "own").write_text("mine", encoding="utf-8")
    (outside / "old").write_text("kept", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-c", PROBE, inside, outside], capture_output=True, text=True, encoding="utf-8"
    )
    held, raised = json.loads(ran.stdout.splitlines()[-1])
    refused = set()
    if FILES in held:
        refused |= {"write", "change", "remove", "make", "move", "link"}
        assert sorted(path.name for path in outside.iterdir()) == ["old"]
        assert (outside / "old").read_text(encoding="utf-8") == "kept"
    if NETWORK in held:
        refused |= {"truncate", "socket", "local", "program", "fork", "signal"}
    assert {name for name, error in raised.items() if error} >= refused, ran.stderr
    assert not any(raised[name] for name in ("thread", "pair", "inside", "nothing", "read"))
    if not held:
        pytest.skip("this kernel has neither Landlock nor seccomp (2026-11-26)")


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp belong to Linux (2026-11-26)")
def test_what_this_kernel_offers_is_used(tmp_path):
    """The kernel is asked here in another way, so that a mistake in ours cannot look like a kernel that has neither."""
    version = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)  # landlock_create_ruleset: the version
    filters = "\nSeccomp_filters:" in Path("/proc/self/status").read_text(encoding="utf-8")
    probe = "import sys; from pathlib import Path; from minilm.exercises.grading.sandbox import hold_back; "
    probe += "print(*hold_back(Path(sys.argv[1])))"
    ran = subprocess.run([sys.executable, "-c", probe, tmp_path], capture_output=True, text=True, encoding="utf-8")
    held = ran.stdout.split()
    assert (FILES in held) == (version > 0)
    assert (NETWORK in held) == (filters and platform.machine() in sandbox.CALLS)


def test_on_other_systems_nothing_is_promised(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    assert sandbox.hold_back(tmp_path) == ()


def test_the_page_says_what_was_in_force():
    entry = find("softmax")
    for held, parts in {
        (FILES, NETWORK): ["The operating system did not let", "change files", "go online"],
        (FILES,): [
            "did not let the learners' code change files",
            "Only Python watched whether the code would go online",
        ],
        (): ["Only Python watched", "in a container"],
        None: ["No code was run."],
    }.items():
        page = class_page([grading.Grade("anna", entry, "passed", held=held)], [entry], 1)
        assert all(part in page for part in parts), page


@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_no_solution_is_called_somebody_elses_work(name):
    assert first_violation(load(name), ast.parse(solution_file(load(name)))) is None


def test_a_teacher_can_grade_the_solutions(tmp_path, monkeypatch):
    """They import checks of bad input, which are not the answer. (All 40 pass; a few of them take a second.)"""
    monkeypatch.chdir(tmp_path)
    wanted = [find(name) for name in ("softmax", "layer_norm_gradient", "adamw", "f1", "word_vectors", "heads")]
    files = {f"{entry.stem}.py": solution_file(load(entry.name)).encode() for entry in wanted}
    found = {g.entry.name: g.verdict for g in grade([Submission("us", files)], wanted, 4, Limits())}
    assert set(found.values()) == {"passed"}, found


def test_the_answer_itself_may_still_not_be_imported():
    for entry in entries():
        exercise = load(entry.name)
        given = {f"{module}.{name}" for module, names in granted(exercise).items() for name in names}
        assert not given & set(exercise.targets.values()), textwrap.shorten(str(given), 200)
