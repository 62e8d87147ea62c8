"""Every fault in a learner's file is reported in one clear sentence, and the code that is checked is really the learner's."""

import subprocess
import sys
import threading

import pytest
from pages import TOP

from minilm.exercises import learner
from minilm.exercises.catalogue import load
from minilm.exercises.learner import check_file
from minilm.exercises.report import LONGEST

RIGHT = """import numpy as np

def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
"""


@pytest.fixture
def verdict(tmp_path):
    """A function that returns the report on a file with the given content, by default for `softmax`."""

    def verdict(content, name="softmax", **options):
        path = tmp_path / "e01_softmax.py"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return check_file(load(name), path, **options)

    return verdict


BAD = {
    "a syntax error": (
        "def softmax(z):\n    return (z\n",
        ("Python cannot read e01_softmax.py: '(' was never closed", "line 2: return (z"),
    ),
    "an indentation": (
        "def softmax(z):\nreturn z\n",
        ("Python cannot read e01_softmax.py: expected an indented block", "line 2"),
    ),
    "a zero byte": (b"x = 1\0\n", ("Python cannot read e01_softmax.py: source code string cannot contain null bytes",)),
    "Latin-1": ("x = 1\n# Größe\n".encode("latin-1"), ("e01_softmax.py is not saved as UTF-8 (line 2): choose UTF-8",)),
    "UTF-16": (RIGHT.encode("utf-16"), ("e01_softmax.py is not saved as UTF-8 (line 1): choose UTF-8",)),
    "nothing": ("", ("e01_softmax.py does not define `softmax`: write it there under that name.",)),
    "another name": (RIGHT.replace("softmax", "soft_max"), ("e01_softmax.py does not define `softmax`",)),
    "no function": ("softmax = 3\n", ("`softmax` in e01_softmax.py is of type int, but must be a function.",)),
    "a missing module": (
        "import tensorflov\n" + RIGHT,
        ("fails while it is imported: ModuleNotFoundError: No module named 'tensorflov'", "line 1: import tensorflov"),
    ),
    "an error": (
        "x = [][1]\n" + RIGHT,
        ("fails while it is imported: IndexError: list index out of range", "line 1: x = [][1]"),
    ),
    "exit": ("import sys\nsys.exit(0)\n", ("fails while it is imported: it exits Python", "line 2: sys.exit(0)")),
    "endless recursion": (
        "def f(): f()\nf()\n",
        ("fails while it is imported: a function in it calls itself endlessly",),
    ),
    "a nest of brackets": (
        "x = " + "(" * 500 + ")" * 500,
        ("Python cannot read e01_softmax.py: too many nested parentheses",),
    ),
    "other parameters": (
        RIGHT.replace("(z):", "(x, axis):"),
        ("the parameters of `softmax` are (x, axis)", "expected                 (z), in this order"),
    ),
    "the library's, imported": (
        "from minilm.formulas.cross_entropy import softmax\n",
        ("the `softmax` in e01_softmax.py is the library's own: write it yourself.",),
    ),
    "the library's, renamed": (
        "from minilm.formulas import cross_entropy as c\nsoftmax = c.softmax\n",
        ("is the library's own",),
    ),
    "the library's, called": (
        "from minilm.formulas import cross_entropy as c\ndef softmax(z):\n    return c.softmax(z)\n",
        ("line 3 calls c.softmax, but in this exercise you write that by hand.",),
    ),
    "the library's, by another name": (
        "from minilm.formulas.cross_entropy import softmax as s\ndef softmax(z):\n    return s(z)\n",
        ("line 3 calls s, but in this",),
    ),
    "scipy's": (
        "import scipy.special\ndef softmax(z):\n    return scipy.special.softmax(z, -1)\n",
        ("line 3 calls scipy.special.softmax, but in this",),
    ),
    "a tensor's": (
        "import torch\ndef softmax(z):\n    return torch.from_numpy(z).softmax(-1).numpy()\n",
        ("line 3 calls torch.from_numpy(z).softmax, but in this",),
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_files_get_a_sentence_each(what, verdict):
    content, sentences = BAD[what]
    report = verdict(content)
    text = str(report)
    assert not report.passed and report.layer == 0
    assert all(sentence in text for sentence in sentences), text
    assert "Traceback" not in text and len(text.splitlines()) <= 4 and "minilm.exercises" not in text


def test_a_missing_file_and_a_folder_in_its_place(tmp_path):
    said = " ".join(str(check_file(load("softmax"), tmp_path / "e01_softmax.py")).split())  # long paths fold the lines
    assert "there is no file" in said and "`minilm exercise start` creates it." in said
    (tmp_path / "e01_softmax.py").mkdir()
    assert "cannot be read" in " ".join(str(check_file(load("softmax"), tmp_path / "e01_softmax.py")).split())


def test_good_files_pass(verdict):
    for content in (RIGHT, "\ufeff" + RIGHT, RIGHT.replace("\n", "\r\n"), RIGHT.replace("(z)", "(z, axis=-1)", 1)):
        report = verdict(content)
        assert report.passed and report.layer == 7, str(report)
        assert str(report).startswith("✓ softmax   passed: all layers, ")


def test_a_lambda_and_a_recursive_function_are_functions_too(verdict):
    assert verdict(
        "import numpy as np\nsoftmax = lambda z: (e := np.exp(z - z.max(-1, keepdims=True))) / e.sum(-1, keepdims=True)"
    ).passed
    recursive = RIGHT.replace(
        "    e =", "    if z.ndim > 1:\n        return np.stack([softmax(row) for row in z])\n    e ="
    )
    assert verdict(recursive).passed


def test_it_is_the_learners_function_that_runs_and_not_the_librarys(verdict, monkeypatch):
    assert verdict(RIGHT).passed
    from minilm.formulas import cross_entropy

    def poisoned(z):
        raise AssertionError("the library was asked")

    monkeypatch.setattr(cross_entropy, "softmax", poisoned)  # its results for seed 0 were computed earlier
    assert verdict(RIGHT).passed
    wrong = verdict(RIGHT.replace("axis=-1, keepdims=True)\n", "axis=0, keepdims=True)\n"))
    assert not wrong.passed and "library was asked" not in str(wrong)


def test_a_learner_cannot_change_the_expected_values_through_shared_arrays(verdict):
    spoiler = RIGHT.replace("    e =", "    z[...] = 0\n    e =")
    assert "expected = [[0.09003, 0.2447, 0.6652]" in str(verdict(spoiler))
    assert verdict(RIGHT).passed  # the example is unchanged


def test_what_it_prints_comes_after_the_verdict(verdict):
    text = str(verdict("def softmax(z):\n    print('shape', z.shape)\n    return z\n"))
    assert text.startswith("✗ softmax   layer 2") and "  printed by your code:\n    shape (2, 3)" in text
    assert len(text.splitlines()) <= LONGEST


def test_an_error_comes_with_the_learners_own_line(verdict):
    text = str(verdict("import numpy as np\ndef softmax(z):\n    return np.stack([z, z[0]])\n"))
    assert "stopped by ValueError: all input arrays must have the same shape" in text
    assert "line 3: return np.stack([z, z[0]])" in text


@pytest.mark.parametrize("content", ["while True: pass\n", "def softmax(z):\n    while True: pass\n"])
def test_an_endless_loop_is_stopped(content, verdict):
    report = verdict(content, patience=0.2)
    assert not report.passed and "still running after 0 seconds: is there a loop that never ends?" in str(report)


def test_ctrl_c_of_a_person_gets_through(verdict):
    with pytest.raises(KeyboardInterrupt):
        verdict("raise KeyboardInterrupt\n")


def test_no_limit_and_no_harm_outside_the_main_thread(verdict):
    reports = []
    thread = threading.Thread(target=lambda: reports.append(verdict(RIGHT)))
    thread.start()
    thread.join()
    assert reports[0].passed


def test_files_may_import_one_another_and_leave_no_trace(tmp_path, verdict):
    (tmp_path / "mine.py").write_text("import numpy as np\nexp = np.exp\n", encoding="utf-8")
    path = list(sys.path)
    assert verdict(RIGHT.replace("import numpy as np", "import mine").replace("np.exp", "mine.exp")).passed
    (tmp_path / "mine.py").write_text("exp = abs\n", encoding="utf-8")
    assert not verdict(RIGHT.replace("import numpy as np", "import mine").replace("np.exp", "mine.exp")).passed
    assert sys.path == path and "mine" not in sys.modules


def test_a_dataclass_in_the_file_works(verdict):
    assert verdict("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int' = 1\n" + RIGHT).passed


def test_a_forbidden_function_is_forbidden_under_another_name_too(verdict):
    head = "import numpy as np\nimport scipy.special as s\n"
    for line in ("f = s.softmax\n    return f(z, -1)", "return (s.softmax if True else 0)(z, -1)"):
        assert "calls s.softmax" in str(verdict(f"{head}def softmax(z):\n    {line}\n"))
    own = "softmax = 3\n    e = np.exp(z - z.max(-1, keepdims=True))\n    return e / e.sum(-1, keepdims=True)"
    assert verdict(f"{head}def softmax(z):\n    {own}\n").passed


def test_a_default_is_that_of_the_stub(tmp_path):
    text = "from minilm.formulas.optimizers import adamw_step as a\ndef adamw_step(theta, g, m, v, t, learning_rate, decay, {}):\n"
    for defaults, said in (
        ("betas=(0.9, 0.99), eps=1e-8", "the default of `betas` in `adamw_step` is (0.9, 0.99), expected (0.9, 0.999)"),
        ("betas=[0.9, 0.999], eps=1e-6", "the default of `eps` in `adamw_step` is 1e-06, expected 1e-08"),
        ("betas=[0.9, 0.999], eps=1e-8", "not written yet"),
    ):
        (path := tmp_path / "e22_adamw.py").write_text(
            text.format(defaults) + "    raise NotImplementedError\n", encoding="utf-8"
        )
        assert said in str(check_file(load("adamw"), path))


def test_given_pieces_may_be_called_and_forbidden_ones_not():
    body = "import numpy as np\nfrom minilm.formulas.cross_entropy import softmax\ndef {}:\n    return {}\n"
    tree = learner.ast.parse(body.format("cross_entropy_gradient(z, y, dL=1.0)", "softmax(z)"))
    assert learner.forbidden_calls(load("cross_entropy_gradient"), tree) == []
    tree = learner.ast.parse(
        body.format("softmax(z)", "library(z)").replace("import softmax", "import softmax as library")
    )
    assert learner.forbidden_calls(load("softmax"), tree) == [(4, "library")]


SEVERAL = """
import math
import torch
import torch.nn.functional as F
from torch.nn.functional import softmax as ready

def attention(q, k, v, may_attend=None, dropout=None, bias=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1)) + (0 if bias is None else bias)
    if may_attend is not None:
        scores = scores.masked_fill(~may_attend, -math.inf)
    weights = ready(scores, -1)
    if may_attend is not None:
        weights = weights.masked_fill(~may_attend, 0.0)
    return (weights if dropout is None else dropout(weights)) @ v, weights

def layer_norm(x, gain, bias, epsilon):
    return Norm(epsilon).layer_norm(x) * gain + bias

class Norm:
    def __init__(self, epsilon):
        self.epsilon = epsilon
    def layer_norm(self, x):
        return self.centred(x) / (x.var(-1, keepdim=True, unbiased=False) + self.epsilon).sqrt()
    def centred(self, x):
        return x - x.mean(-1, keepdim=True)

def compared_with_torch(x, attention):
    return F.layer_norm(x, x.shape[-1:]), F.scaled_dot_product_attention(x, x, x), attention

print(F.layer_norm(torch.ones(1, 2), (2,)).tolist(), F.scaled_dot_product_attention)
"""


@pytest.mark.parametrize("name", ["attention", "layer_norm"])
def test_a_call_that_is_forbidden_may_stand_elsewhere_in_the_file(name, tmp_path):
    path = tmp_path / "all_in_one.py"
    path.write_text(SEVERAL, encoding="utf-8")
    report = check_file(load(name), path)
    assert report.passed, str(report)


THROUGH_OTHERS = {
    "a helper": "def layer_norm(x, gain, bias, epsilon):\n    return helper(x) * gain + bias\n"
    "def helper(x):\n    return other(x)\ndef other(x):\n    return F.layer_norm(x, x.shape[-1:])\n",
    "an assignment": "norm = F.layer_norm\nlayer_norm = lambda x, gain, bias, epsilon: norm(x, x.shape[-1:], gain, bias)\n",
    "a partial": "from functools import partial\nready = partial(F.layer_norm, eps=1)\n"
    "def layer_norm(x, gain, bias, epsilon):\n    return ready(x, x.shape[-1:])\n",
    "a class": "class N:\n    def run(self, x):\n        return F.layer_norm(x, x.shape[-1:])\n"
    "def layer_norm(x, gain, bias, epsilon):\n    return N().run(x)\n",
    "a table": "T = {}\nT['n'] = F.layer_norm\ndef layer_norm(x, gain, bias, epsilon):\n    return T['n'](x, x.shape[-1:])\n",
    "a default": "def layer_norm(x, gain, bias, epsilon, f=F.layer_norm):\n    return f(x, x.shape[-1:])\n",
    "a decorator": "def d(f):\n    return lambda x, gain, bias, epsilon: F.layer_norm(x, x.shape[-1:])\n"
    "@d\ndef layer_norm(x, gain, bias, epsilon):\n    return x\n",
    "an `if`": "if True:\n    def helper(x):\n        return F.layer_norm(x, x.shape[-1:])\n"
    "def layer_norm(x, gain, bias, epsilon):\n    return helper(x)\n",
    "everything": "from torch import *\ndef layer_norm(x, gain, bias, epsilon):\n    return layer_norm_(x)\n"
    "def layer_norm_(x):\n    return native_layer_norm(x, x.shape[-1:], None, None, 1.0)\n",
    "a nested function": "def layer_norm(x, gain, bias, epsilon):\n    def inner():\n        return helper(x)\n"
    "    return inner()\ndef helper(x):\n    return F.layer_norm(x, x.shape[-1:])\n",
}


@pytest.mark.parametrize("way", THROUGH_OTHERS)
def test_a_forbidden_call_is_found_through_whatever_the_solution_uses(way, tmp_path):
    path = tmp_path / "e07_layer_norm.py"
    path.write_text(f"import torch.nn.functional as F\n{THROUGH_OTHERS[way]}", encoding="utf-8")
    report = check_file(load("layer_norm"), path)
    assert report.layer == 0 and "but in this exercise you write that by hand" in str(report), str(report)


def test_a_parameter_that_is_called_like_another_function_of_the_file_is_not_that_function(tmp_path):
    text = SEVERAL.replace("def layer_norm(x, gain", "def compared(y):\n    return F.layer_norm(y, y.shape[-1:])\n\n"
                           "def layer_norm(x, gain").replace("Norm(epsilon).layer_norm(x)", "norm(x, epsilon)")  # fmt: skip
    text += "\ndef norm(x, compared):\n    return Norm(compared).layer_norm(x)\n"
    (path := tmp_path / "e07_layer_norm.py").write_text(text, encoding="utf-8")
    report = check_file(load("layer_norm"), path)
    assert report.passed, str(report)


def test_nothing_is_left_to_load_when_the_clock_runs():
    """Everything is imported before the time limit starts: stopping a check during an import leaves half a library."""
    program = """
import sys
from minilm.exercises.catalogue import load
from minilm.exercises.checks import check
from minilm.exercises.plan import plan_of
from minilm.exercises.running import prepare
exercise = load("label_smoothing")
prepare(exercise)
before = set(sys.modules)
assert check(exercise, plan_of(exercise, 0).reference).passed
late = [name for name in set(sys.modules) - before if name.startswith(("torch", "sympy"))]
assert not late, sorted(late)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
