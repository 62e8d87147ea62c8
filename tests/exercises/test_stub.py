"""Stubs are cut from a source by its syntax tree; here the sources differ from those of the existing exercises."""

import ast
import importlib
import sys

import pytest

from minilm.exercises import stub
from minilm.exercises.catalogue import load
from minilm.exercises.spec import Exercise

SOURCE = '''"""A module."""

import math
from dataclasses import dataclass

import numpy as np

from minilm.errors import InputError

SIZE = 3
Table = dict[str, int]


def check_size(x):
    raise InputError("no")


def helper(x):
    return math.sqrt(x)


def target(
    x: np.ndarray,
    size: int = SIZE,
) -> Table:
    r"""What \\pi is."""
    check_size(x)
    # first this,
    # and more of it
    y = helper(x)  # [N]
    a, b = y, x  # noqa: F841
    return {"y": y}  # done


def short(x): return x + 1


@dataclass
class Counter:
    """Counts."""

    start: int = 0

    def __post_init__(self):
        self.count = self.start

    def step(self, by: int = 1) -> int:
        """One more."""
        self.count += by  # the sum
        return self.count
'''


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """A function that makes an exercise whose target is defined in SOURCE."""
    (tmp_path / "made_up.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    stub.source_of.cache_clear()
    yield lambda name, **more: Exercise(
        target=f"made_up.{name}",
        section=("01", ""),
        returns={},
        tiny=dict,
        probes=dict,
        right={},
        wrong={},
        hints=("", "", ""),
        **more,
    )
    sys.modules.pop("made_up", None)
    stub.source_of.cache_clear()


def test_signature_docstring_and_numbered_comments_stay_and_what_they_need_is_imported(cut):
    text = stub.stub(cut("target"))
    assert text.endswith('''import numpy as np
from made_up import SIZE, Table


def target(
    x: np.ndarray,
    size: int = SIZE,
) -> Table:
    r"""What \\pi is."""
    # 1. first this, and more of it
    # 2. y: [N]
    # 3. done
    raise NotImplementedError
''')  # fmt: skip
    assert "# 1." not in stub.stub(cut("target"), guided=False)


def test_what_is_given_is_imported_and_the_spec_may_have_steps_and_a_docstring_of_its_own(cut):
    text = stub.stub(cut("target", given=("made_up.helper",), steps=("one", "two"), docstring="Other.\n\n    Words."))
    assert "from made_up import SIZE, Table, helper\n" in text and "Ready to use: helper." in text
    assert '    r"""Other.\n\n    Words.\n    """\n    # 1. one\n    # 2. two\n    raise' in text


def test_a_body_on_the_line_of_its_def_goes_too(cut):
    text = stub.stub(cut("short"))
    assert "x + 1" not in text and ast.parse(text)


def test_of_a_class_the_methods_are_cut_but_for_those_that_are_kept(cut):
    text = stub.stub(cut("Counter", keep=("__post_init__",)))
    assert "from dataclasses import dataclass" in text and "@dataclass\nclass Counter:" in text
    assert "self.count = self.start" in text and "self.count += by" not in text
    assert text.endswith('        """One more."""\n        # 1. the sum\n        raise NotImplementedError\n')
    assert "self.count = self.start" not in stub.stub(cut("Counter"))
    compile(text, "stub", "exec")


def test_several_functions_stand_in_one_file(cut):
    text = stub.stub(cut("target", also=("made_up.helper",)))
    assert text.count("raise NotImplementedError") == 2 and text.index("def target") < text.index("def helper")


def test_a_solution_brings_its_helpers_and_not_its_checks(cut):
    text = stub.solution(cut("target"))
    assert "# made_up.py, line " in text and "def helper" in text and "def check_size" not in text
    assert "def helper" not in stub.solution(cut("target", given=("made_up.helper",)))


def test_a_solution_of_the_catalogue_has_its_helpers():
    text = stub.solution(load("layer_norm_gradient"))
    assert "def layer_norm_gradient" in text and "def standardised" in text and "def check_norm" not in text
