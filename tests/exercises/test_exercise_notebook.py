"""The same engine in a notebook: check(), %%exercise, hint() and solution()."""

from functools import partial

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from minilm.errors import InputError
from minilm.exercises import notebook
from minilm.exercises.catalogue import load
from minilm.exercises.learner import check_found
from minilm.exercises.plan import plan_of

CASES = len(plan_of(load("softmax"), 0).cases)
RIGHT = """
import numpy as np
def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
"""


@pytest.fixture
def shell(monkeypatch):
    for kept in (notebook.tries, notebook.passed, notebook.mistakes, notebook.hints):
        kept.clear()
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "minilm.exercises.notebook")
    yield shell
    InteractiveShell.clear_instance()


def test_a_cell_is_run_and_checked(shell, capsys):
    shell.run_cell("%%exercise softmax\nimport numpy as np\ndef softmax(z):\n    return np.exp(z) / np.exp(z).sum()\n")
    said = capsys.readouterr().out
    assert (
        "two mistakes at once: exp is applied to the logits as they are, without subtracting the largest one first; and"
        in " ".join(said.split())
    )
    assert said.startswith("✗ softmax   layer 2 of 7: the tiny example") and 'next: hint("softmax")' in said
    shell.run_cell("%%exercise softmax\n" + RIGHT)
    assert capsys.readouterr().out == f"✓ softmax   passed: all layers, {CASES} cases\n  next: %exercise log_softmax\n"
    shell.run_cell("solution('softmax')")
    assert "return e / e.sum" in capsys.readouterr().out


def test_check_finds_the_function_of_the_notebook(shell, capsys):
    shell.run_cell(RIGHT)
    shell.run_cell("report = check('softmax')")
    assert shell.user_ns["report"].passed
    shell.run_cell("del softmax; check('softmax');")
    assert "the notebook does not define `softmax`: write it there under that name." in capsys.readouterr().out
    shell.run_cell(
        "check('sofmax'); hint('nap'); check('softmax')"
    )  # the report is printed once, and errors are one sentence
    said = capsys.readouterr().out
    assert "did you mean softmax" in said and "'nap'" in said and "Traceback" not in said and "Report(" not in said


def test_the_stub_comes_into_the_next_cell(shell, capsys):
    shell.run_cell("%exercise softmax")
    assert "raise NotImplementedError" in shell.rl_next_input
    shell.run_cell(shell.rl_next_input)
    assert "layer 0 of 7: not written yet" in capsys.readouterr().out
    shell.run_cell("%exercise sofmax")
    assert "did you mean softmax" in capsys.readouterr().out


def test_what_is_forbidden_in_a_file_is_forbidden_here(shell, capsys):
    shell.run_cell("%%exercise softmax\nimport scipy.special as s\ndef softmax(z):\n    return s.softmax(z, -1)\n")
    assert "calls s.softmax" in capsys.readouterr().out
    shell.run_cell("%%exercise softmax\nfrom minilm.formulas.cross_entropy import softmax\n")
    assert "is the library's own" in capsys.readouterr().out


def test_hints_and_the_solution_come_in_time(shell, capsys):
    shell.run_cell("hint('softmax'); hint('softmax')")
    assert capsys.readouterr().out.count("hint 1 of 3") == 2
    for i in range(3):
        shell.run_cell("solution('softmax')")
        assert f"so far {i}." in capsys.readouterr().out
        shell.run_cell(f"%%exercise softmax\ndef softmax(z):\n    return z + {i}\n")
        shell.run_cell(f"%%exercise softmax\ndef softmax(z):\n    return z + {i}\n")
        capsys.readouterr()
    shell.run_cell("solution('softmax')")
    assert "return e / e.sum" in capsys.readouterr().out


def test_the_first_hint_after_a_check_is_about_its_mistake(shell, capsys):
    shell.run_cell("%%exercise softmax\n" + RIGHT.replace("axis=-1", "axis=0"))
    capsys.readouterr()
    shell.run_cell("hint('softmax')")
    said = capsys.readouterr().out
    assert said.startswith("softmax, about your last check: the softmax runs along the first axis instead of the last.")
    assert "hint 1 of 3" not in said and "“yours” is what this mistake makes of it:" in said
    shell.run_cell("hint('softmax')")
    assert "hint 1 of 3" in capsys.readouterr().out


def test_code_that_never_ends_is_stopped_as_in_a_file(shell, capsys, monkeypatch):
    monkeypatch.setattr(notebook, "check_found", partial(check_found, patience=0.5))
    shell.run_cell("%%exercise softmax\ndef softmax(z):\n    while True:\n        pass\n")
    assert capsys.readouterr().out.startswith("✗ softmax   your code does not end\n")


def test_outside_a_notebook_the_function_is_given(capsys):
    InteractiveShell.clear_instance()
    with pytest.raises(InputError, match="this is not a notebook: also pass the function to check"):
        notebook.check("softmax")
    with pytest.raises(InputError, match="there is no exercise"):
        notebook.check("nothing")
    names: dict = {}
    exec(RIGHT, names)
    assert notebook.check("softmax", names["softmax"]).passed
