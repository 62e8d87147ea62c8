"""What is graded of a notebook is what IPython would have in its namespace after all cells have run.

The random notebooks are compared with IPython itself. The suite takes a sample; to compare more of them:

    MINILM_NOTEBOOKS=400 python -m pytest tests/exercises/grading/test_notebooks.py -k referee
"""

import csv
import json
import os
import textwrap
from pathlib import Path

import generated_notebooks as generated
import pytest

from minilm.cli import main
from minilm.exercises.catalogue import find
from minilm.exercises.grading import cells as reading
from minilm.exercises.grading.grade import PASSED, Limits, grade
from minilm.exercises.grading.sources import source_for
from minilm.exercises.grading.submissions import Submission

SAMPLE = int(os.environ.get("MINILM_NOTEBOOKS", "16"))
NUMPY = "import numpy as np"
RIGHT = (
    "def softmax(z):\n    e = np.exp(z - z.max(axis=-1, keepdims=True))\n    return e / e.sum(axis=-1, keepdims=True)"
)
WRONG = RIGHT.replace("-1", "0")
LIBRARY = "minilm.formulas.cross_entropy"


def code(source: str, **about) -> dict:
    return {"cell_type": "code", "source": source, "metadata": about, "outputs": [], "execution_count": None}


def notebook(*cells, **about) -> bytes:
    parts = [code(cell) if isinstance(cell, str) else cell for cell in cells]
    return json.dumps({"cells": parts, "metadata": about, "nbformat": 4, "nbformat_minor": 5}).encode()


OTHER = {"cell_type": "raw", "source": WRONG}
TEXT = {"cell_type": "markdown", "source": f"```python\n{WRONG}\n```"}
OLD = {"cell_type": "code", "language": "python", "input": [f"{NUMPY}\n", RIGHT], "collapsed": False}
SHEETS = json.dumps({"nbformat": 3, "metadata": {}, "worksheets": [{"cells": [OLD]}]}).encode()
SAVED = (
    "from __future__ import annotations\n%matplotlib inline\n%config InlineBackend.figure_format = 'retina'\n" + NUMPY
)
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.savefig('{}')"
SCRIPT = "#!/usr/bin/env python\n# coding: utf-8\n\n# In[1]:\n\n\nget_ipython().run_line_magic('matplotlib', 'inline')\n{}\n\n\n"
AWAY = "from minilm.exercises.notebook import check\ncheck('softmax')"
KAGGLE = "import os\nfor folder, _, names in os.walk('/kaggle/input'):\n    for name in names: print(name)"
FORGED = f"from {LIBRARY} import softmax as theirs\ndef softmax(z):\n    return theirs(z)"
UNSEEN = "import sys\ndef softmax(z):\n    return sys.modules['{}'].softmax(z)"
ONLINE = RIGHT.replace(
    "    e =",
    "    try:\n        requests.get('http://192.0.2.1', timeout=1)\n    except OSError:\n        pass\n    e =",
)
DENIED = "import urllib.request\nurllib.request.urlretrieve('http://192.0.2.1/x', 'x')\nsoftmax = None"
ASKING = "import sys\nname = input('your name?')\nsoftmax = None"
SHELL = "from IPython.core.interactiveshell import InteractiveShell\nInteractiveShell.ast_node_interactivity = 'all'"

# name → (file, its content, the verdict, a part of the message)
CASES: dict[str, tuple[str, bytes, str, str]] = {
    "raw_and_text": ("n.ipynb", notebook(NUMPY, RIGHT, OTHER, TEXT), "passed", ""),
    "nbformat_3": ("n.ipynb", SHEETS, "passed", ""),
    "mark": ("n.ipynb", b"\xef\xbb\xbf" + notebook(NUMPY, RIGHT), "passed", ""),
    "utf_16": ("n.ipynb", notebook(NUMPY, RIGHT).decode().encode("utf-16"), "passed", ""),
    "tagged": ("n.ipynb", notebook(NUMPY, RIGHT, code(WRONG, tags=["skip-execution"])), "passed", ""),
    "other_cell": ("n.ipynb", notebook(NUMPY, RIGHT, code(WRONG, vscode={"languageId": "julia"})), "passed", ""),
    "other_language": ("n.ipynb", notebook(RIGHT, language_info={"name": "R"}), "failed", "in R, not in Python"),
    "damaged": ("n.ipynb", b'{"cells": [', "failed", "damaged"),
    "unknown_magics": ("n.ipynb", notebook(f"%tensorflow_version 2.x\n{NUMPY}", "%%R\nx <- 1", RIGHT), "passed", ""),
    "pictures": ("n.ipynb", notebook(SAVED, RIGHT, PLOT.format("a.png")), "passed", ""),
    "pylab": ("n.ipynb", notebook("%pylab inline", RIGHT), "passed", ""),
    "shell_class": ("n.ipynb", notebook(SHELL, NUMPY, RIGHT, "softmax(np.ones((1, 2)))\n3"), "passed", ""),
    "exercise_magic": (
        "n.ipynb",
        notebook(
            "%load_ext minilm.exercises.notebook\n" + NUMPY, f"%%exercise softmax\n{RIGHT}", "check('softmax')\nx = 1"
        ),
        "passed",
        "",
    ),
    "exercise_import": ("n.ipynb", notebook(NUMPY, f"{AWAY}\n{RIGHT}"), "passed", ""),
    "compared": (
        "n.ipynb",
        notebook(NUMPY, RIGHT, f"from {LIBRARY} import softmax as s\ns(np.ones((1, 2)))"),
        "passed",
        "",
    ),
    "kaggle": ("n.ipynb", notebook(KAGGLE, NUMPY, RIGHT), "passed", ""),
    "denied_and_on": ("n.ipynb", notebook(NUMPY, RIGHT, DENIED, ASKING), "passed", ""),
    "percent": (
        "anna.py",
        f"# %% [markdown]\n# Hi\n# %%\n{NUMPY}\n# %%\n1 / 0\n# %%\n{RIGHT}\n".encode(),
        "passed",
        "",
    ),
    "exported": ("anna.py", (SCRIPT.format(NUMPY) + f"# In[ ]:\n\n\n{RIGHT}\nopen('a.csv')").encode(), "passed", ""),
    "latin_1": ("anna.py", f"# coding: latin-1\n# für\n{NUMPY}\n{RIGHT}\n".encode("latin-1"), "passed", ""),
    "utf_16_script": ("anna.py", f"{NUMPY}\n{RIGHT}\n".encode("utf-16"), "failed", "not saved as UTF-8"),
    "broken_script": ("anna.py", f"{NUMPY}\n{RIGHT}\nx = (\n".encode(), "failed", "never closed"),
    "if_in_script": ("anna.py", f"{NUMPY}\nif True:\n    softmax = lambda z: z\n".encode(), "failed", "expected"),
    "stub_last": (
        "n.ipynb",
        notebook(NUMPY, RIGHT, "def softmax(z):\n    raise NotImplementedError"),
        "not written yet",
        "",
    ),
    "lost": ("n.ipynb", notebook(NUMPY, f"1 / 0\n{RIGHT}"), "failed", "cell 2 stops with ZeroDivisionError"),
    "import_lost": (
        "n.ipynb",
        notebook(f"import nothing_of_this_name\n{NUMPY}", RIGHT),
        "failed",
        "| cell 1 stops with ModuleNotFoundError: No module named 'nothing_of_this_name'",
    ),
    "overwritten": ("n.ipynb", notebook(NUMPY, RIGHT, "softmax = softmax(np.ones((1, 2)))"), "failed", "type ndarray"),
    "scipys": ("n.ipynb", notebook("import scipy.special as s\nsoftmax = s.softmax"), "failed", "comes from scipy"),
    "scipys_in_match": (
        "n.ipynb",
        notebook(
            "import scipy.special as s\nmatch 1:\n    case 1:\n        def softmax(z):\n            return s.softmax(z, -1)"
        ),
        "failed",
        "calls s.softmax",
    ),
    "scipys_by_global": (
        "n.ipynb",
        notebook(
            "import scipy.special as s\ndef f():\n    global softmax\n    def softmax(z):\n        return s.softmax(z)\nf()"
        ),
        "failed",
        "calls s.softmax",
    ),
    "def_in_if_in_script": ("anna.py", f"{NUMPY}\nif True:\n{textwrap.indent(RIGHT, '    ')}\n".encode(), "passed", ""),
    "only_used": (
        "n.ipynb",
        notebook("from scipy.special import softmax\nsoftmax([1, 2])"),
        "missing",
        "comes from scipy",
    ),
    "only_taken": ("n.ipynb", notebook(f"from {LIBRARY} import softmax"), "missing", "the library's own"),
    "no_softmax": ("n.ipynb", notebook(NUMPY, "x = 'softmax'"), "missing", "no `softmax` in n.ipynb"),
    "variable": ("n.ipynb", notebook(NUMPY, "softmax = 3"), "missing", "there is no `softmax`"),
    "from_text": ("n.ipynb", notebook(NUMPY, f"exec({RIGHT!r})"), "refused", "where `softmax` comes from"),
    "renamed": (
        "n.ipynb",
        notebook(f"from {LIBRARY} import softmax as s\nsoftmax = s"),
        "not their own work",
        "cell 1, line 1",
    ),
    "calls": ("n.ipynb", notebook(NUMPY, FORGED), "not their own work", "cell 2, line 1 imports"),
    "modules": ("n.ipynb", notebook(UNSEEN.format(LIBRARY)), "not their own work", "sys.modules"),
    "online": ("n.ipynb", notebook(f"{NUMPY}\nimport requests", ONLINE), "refused", "go online"),
    "exits": ("n.ipynb", notebook(NUMPY, RIGHT, "import os; os._exit(3)"), "stopped", "cell 3 of 3: "),
    "slow": (
        "n.ipynb",
        notebook(NUMPY, "while True: pass", RIGHT),
        "time",
        "cell 2 of 3: still running after 2 seconds",
    ),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """All cases, graded once on the command line: learner → row."""
    folder = tmp_path_factory.mktemp("notebooks")
    for learner, (name, content, _, _) in CASES.items():
        (folder / "in" / learner).mkdir(parents=True)
        (folder / "in" / learner / name).write_bytes(content)
    out = folder / "grades.csv"
    assert (
        main(["exercise", "grade", str(folder / "in"), "softmax", "--seed", "3", "--seconds", "2", "--out", f"{out}"])
        == 0
    )
    with (folder / "grades_long.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["learner"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("learner", CASES)
def test_the_verdict_is_the_one_that_ipython_would_lead_to(graded, learner):
    _, _, verdict, message = CASES[learner]
    row = graded[learner]
    assert row["verdict"] == verdict and message in row["message"], row


def test_random_notebooks_are_graded_as_the_referee_runs_them():
    """IPython runs each notebook in a process of its own; its final `softmax` is right if and only if ours passes."""
    seeds = range(SAMPLE)
    made = [generated.notebook(seed) for seed in seeds]
    submissions = [Submission(str(seed), {"n.ipynb": notebook(*cells)}) for seed, cells in zip(seeds, made)]
    right = generated.referee(made)
    grades = list(grade(submissions, [find("softmax")], 5, Limits()))
    assert 0.2 < sum(right) / len(right) < 0.9
    differences = [
        (g.learner, g.verdict, g.message, cells)
        for g, wanted, cells in zip(grades, right, made)
        if (g.verdict == PASSED) != wanted
    ]
    assert not differences, differences[0]


def test_every_form_of_the_grammar_is_reached():
    """The sample is small, so the generator must not always draw the same few forms."""
    texts = ["\n".join(generated.notebook(seed)) for seed in range(400)]
    for part in (*generated.IMPORTS, *generated.CONSTANTS, *generated.HELPERS, *filter(str.strip, generated.TRIALS)):
        assert any(part in text for text in texts), part


def test_a_notebook_may_import_and_run_the_scripts_beside_it(tmp_path):
    helper = f"{NUMPY}\ndef shifted(z):\n    return np.exp(z - z.max(axis=-1, keepdims=True))\n"
    made = "def softmax(z):\n    e = shifted(z)\n    return e / e.sum(axis=-1, keepdims=True)"
    taken = f"from {LIBRARY} import softmax as theirs\n\n\ndef softmax(z):\n    return theirs(z)\n"
    files = {
        "imports": {"helper.py": helper.encode(), "n.ipynb": notebook("from helper import *", made)},
        "runs": {"helper.py": helper.encode(), "n.ipynb": notebook("%run helper.py", made)},
        "script": {"helper.py": helper.encode(), "e01_softmax.py": f"from helper import shifted\n{made}\n".encode()},
        "forged": {"other.py": taken.encode(), "n.ipynb": notebook("from other import softmax")},
        "forged_too": {"other.py": taken.encode(), "e01_softmax.py": b"import other\nsoftmax = other.softmax\n"},
        "forged_run": {"other.py": taken.encode(), "n.ipynb": notebook("%run other.py\nx = 'softmax'")},
    }
    submissions = [Submission(name, parts) for name, parts in files.items()]
    verdicts = {g.learner: (g.verdict, g.message) for g in grade(submissions, [find("softmax")], 1, Limits())}
    assert [verdicts[name][0] for name in ("imports", "runs", "script")] == ["passed"] * 3, verdicts
    assert {verdicts[name][0] for name in ("forged", "forged_too", "forged_run")} == {"not their own work"}, verdicts
    assert verdicts["forged_too"][1].startswith("other.py, line 1 imports")


def test_two_exercises_of_one_name_are_told_apart_by_their_cells():
    first = "%%exercise cross_entropy\ndef cross_entropy(logits, labels, label_smoothing=0.0):\n    return 1 / 0"
    second = first.replace("exercise cross_entropy", "exercise label_smoothing").replace("1 / 0", "[][1]")
    submission = Submission("anna", {"n.ipynb": notebook(first, second)})
    wanted = [find("cross_entropy"), find("label_smoothing")]
    found = {g.entry.name: g.message for g in grade([submission], wanted, 1, Limits())}
    assert "ZeroDivisionError" in found["cross_entropy"] and "IndexError" in found["label_smoothing"], found


def test_of_two_notebooks_the_one_that_is_written_counts():
    stub = notebook(NUMPY, "def softmax(z):\n    raise NotImplementedError")
    files = {"a.ipynb": stub, "b.ipynb": notebook(NUMPY, RIGHT), "c.ipynb": notebook(NUMPY)}
    assert source_for(Submission("anna", files), find("softmax")).place == "b.ipynb"
    assert source_for(Submission("anna", {"a.ipynb": stub}), find("softmax")).place == "a.ipynb"


def test_without_ipython_one_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    Path("in").mkdir()
    Path("in/anna.ipynb").write_bytes(notebook(NUMPY, RIGHT))
    assert main(["exercise", "grade", "in", "softmax"]) == 2
    assert "anna handed in anna.ipynb: grading notebooks needs IPython" in capsys.readouterr().err
    Path("in/anna.ipynb").unlink()
    Path("in/ben.py").write_text(f"# %%\n{NUMPY}\n# %%\n{RIGHT}\n", encoding="utf-8")
    assert main(["exercise", "grade", "in", "softmax"]) == 0  # an ordinary script, too
    assert "ben: 1 passed" in capsys.readouterr().out
