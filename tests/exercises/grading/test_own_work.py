"""What a submission may and may not contain, judged from its source."""

import ast
import inspect
import textwrap

import pytest

from minilm.exercises.catalogue import entries, find, load
from minilm.exercises.grading.own_work import FOREIGN, REFUSED, first_violation
from minilm.exercises.grading.solutions import imported_by_stub
from minilm.exercises.stub import stub


@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_no_stub_and_no_right_style_is_refused(name):
    exercise = load(name)
    assert first_violation(exercise, ast.parse(stub(exercise))) is None
    for style, code in exercise.right.items():
        for function in exercise.pieces(code).values():
            if inspect.isfunction(function):
                source = textwrap.dedent(inspect.getsource(function))
                if not source.startswith(("def ", "class ")):
                    continue  # the source of a lambda includes the code around it
                tree = ast.parse(source)
                assert first_violation(exercise, tree) is None, style


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("import minilm", FOREIGN),
        ("import minilm.formulas.cross_entropy as c", FOREIGN),
        ("from minilm.formulas.cross_entropy import softmax", FOREIGN),
        ("from minilm.exercises import specs", FOREIGN),
        ("from inspect import getsource", FOREIGN),
        ("import importlib.util", FOREIGN),
        ("from dataclasses import inspect", FOREIGN),
        ("dataclasses.inspect.stack()", FOREIGN),
        ("traceback.sys.modules", FOREIGN),
        ("print.__self__", FOREIGN),
        ("from operator import methodcaller as m", REFUSED),
        ("operator.methodcaller('x')", REFUSED),
        ("import torch.multiprocessing", REFUSED),
        ("torch.multiprocessing.Process", REFUSED),
        ("from os import setsid", REFUSED),
        ("import _posixsubprocess", REFUSED),
        ("import __main__", REFUSED),
        ("import pdb", REFUSED),
        ("from sys import modules", FOREIGN),
        ("import sys; sys.modules", FOREIGN),
        ("__import__('minilm')", FOREIGN),
        ("getattr(f, '__globals__')", FOREIGN),
        ("softmax.__code__", FOREIGN),
        ("e.__traceback__.tb_frame.f_back", FOREIGN),
        ("match f:\n    case F(f_back=x): pass", FOREIGN),
        ("exec('1')", REFUSED),
        ("run = eval", REFUSED),
        ("from operator import attrgetter", REFUSED),
        ("import subprocess", REFUSED),
        ("import ctypes", REFUSED),
        ("from os import fork", REFUSED),
    ],
)
def test_what_reaches_for_the_answer_is_refused_with_its_line(line, verdict):
    found = first_violation(load("softmax"), ast.parse(f"import numpy as np\n{line}\n"))
    assert (
        found is not None and found[0] == verdict and found[1].startswith("line 2 " if "\n" not in line else "line 3 ")
    )


@pytest.mark.parametrize(
    "line",
    [
        "import math, sys; sys.float_info.eps",
        "from minilm.errors import InputError",
        "getattr(np, 'exp'); getattr(np, name)",
        "import torch.nn.functional as F; F.relu",
        "from __future__ import annotations",
        "from scipy import signal; import scipy.signal",
        "model.eval(); torch.compile",
        "x.__class__; x.modules()",
        "'we inspect minilm'",
    ],
)
def test_what_honest_code_needs_is_welcome(line):
    assert first_violation(load("softmax"), ast.parse(line)) is None


@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_what_a_stub_gives_was_asked_for_before_or_never(name):
    numbers = {dotted: entry.number for entry in reversed(entries()) for dotted in load(entry.name).targets.values()}
    assert all(numbers.get(dotted, 0) < find(name).number for dotted in load(name).given)


def test_the_stub_decides_what_is_given():
    exercise = load("cross_entropy_gradient")
    assert "softmax" in imported_by_stub(exercise)["minilm.formulas.cross_entropy"]
    given = "from minilm.formulas.cross_entropy import softmax"
    assert first_violation(exercise, ast.parse(given)) is None
    assert first_violation(exercise, ast.parse(f"{given}, cross_entropy_gradient"))[0] == FOREIGN
