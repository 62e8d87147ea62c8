"""Fifty submissions that are right, wrong, careless or hostile: each gets the verdict that it deserves."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from minilm.cli import main
from minilm.exercises.catalogue import find, load
from minilm.exercises.grading import grade as grading, isolated
from minilm.exercises.grading.isolated import attempt, end
from minilm.exercises.grading.sources import Found
from minilm.exercises.grading.submissions import Submission
from minilm.exercises.grading.windows_job import JobObject
from minilm.exercises.stub import stub

IMPORT = "import os\nimport sys\n\nimport numpy as np\n\n\n"
BODY = """def softmax(z):
    {}
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
"""
RIGHT = IMPORT + BODY.format("pass")
LOG = "\n\ndef log_softmax(z):\n    return z - np.logaddexp.reduce(z, axis=-1)[..., None]\n"
WRONG = RIGHT.replace("axis=-1", "axis=0")


def having(line: str, code: str = RIGHT) -> str:
    """The code with `line` inserted as the first line of its function."""
    return code.replace("    pass\n", f"    {line}\n")


def notebook(*cells: str) -> bytes:
    cells = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "# Mine"}, *cells]}).encode()


def zipped(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as parts:
        for name, content in files.items():
            parts.writestr(name, content)
    return out.getvalue()


STUB = stub(load("softmax"))
DEF, IMPORTS = BODY.format("pass"), "import numpy as np"
FOREIGN, REFUSED = "not their own work", "refused"
READS = "[open(os.path.join(p, 'minilm', 'formulas', 'cross_entropy.py')) for p in sys.path if os.path.isdir(p + '/minilm')]"
PICKLED = "np.load(io.BytesIO(b\"cbuiltins\\nexec\\n(S'1'\\ntR.\"), allow_pickle=True)"
PATCHES = "import json\nimport numpy as np\nnp.array_equal = lambda *a, **k: True\njson.dumps = lambda *a: '{}'\n"
SUBCLASS = """import numpy as np
class N(np.ndarray):
    def __sub__(self, other): return 0 * self
    def copy(self, *a): return self
    def __array_function__(self, *a): return True
def softmax(z):
    return (0 * z).view(N)
"""
CLASSES = f"""import collections, dataclasses, functools, logging
@dataclasses.dataclass
class A:
    x: int = 1
P = collections.namedtuple("P", "a b")
def again(f):
    @functools.wraps(f)
    def g(*x): return f(*x)
    return g
{having("again(A)(P(1, 2)); logging.info('')")}"""
THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"

# learner → (the submission: text of e01_softmax.py, or (file, bytes), or files; the verdict; a part of the message)
CLASS = {
    "right": (RIGHT, "passed", ""),
    "right_bom": (("right_bom/e01_softmax.py", RIGHT.replace("\n", "\r\n").encode("utf-8-sig")), "passed", ""),
    "right_one_file": (("right_one_file.py", (RIGHT + LOG).encode()), "passed", ""),
    "right_notebook": (("right_notebook.ipynb", notebook(IMPORTS, f"%%exercise softmax\n{DEF}")), "passed", ""),
    "right_zip": (("right_zip.zip", zipped({"work/e01_softmax.py": RIGHT, "../../evil.py": "1"})), "passed", ""),
    "right_renamed": (("right_renamed/4711_e01_softmax (2).py", RIGHT.encode()), "passed", ""),
    "getattr_hidden": (having("getattr(softmax, '__glo' + 'bals__')"), FOREIGN, "while it ran"),
    "right_loud": (having("print('x' * 1_000_000)"), "passed", ""),
    "right_thread": (THREAD + RIGHT, "passed", ""),
    "cells_twice_right_last": (
        ("cells_twice_right_last.ipynb", notebook(IMPORTS, STUB, WRONG, DEF, "softmax(nothing)\n!ls")),
        "passed",
        "",
    ),
    "cells_twice_wrong_last": (
        ("cells_twice_wrong_last.ipynb", notebook(IMPORTS, DEF, DEF, DEF.replace("axis=-1", "axis=0"))),
        "failed",
        "",
    ),
    "wrong_axis": (WRONG, "failed", "first axis instead of the last"),
    "wrong_whole": (RIGHT.replace("axis=-1, keepdims=True", ""), "failed", "whole array"),
    "wrong_none": (RIGHT.replace("return e", "return_ = e"), "failed", "returns nothing"),
    "wrong_huge": (having("return np.zeros((1100, 2000))"), "failed", "far more than the right one"),
    "wrong_signature": (RIGHT.replace("(z)", "(x)").replace("z", "x"), "failed", "parameters"),
    "wrong_then_endless": (having("while z.max() > 100: pass", WRONG), "failed", "first axis instead of the last"),
    "calls_itself": (having("return softmax(z)"), "failed", "calls itself"),
    "untouched": (STUB, "not written yet", ""),
    "endless": (having("while True: pass"), "time", "never ends"),
    "endless_import": (f"{RIGHT}\nwhile True:\n    pass\n", "time", "never ends"),
    "bomb_array": (having("np.ones(10**12)"), "memory", "memory"),
    "bomb_list": (having("z = [np.ones(10**6) for _ in range(10**6)]"), "memory", "memory"),
    "exit_in_function": (having("os._exit(0)"), "stopped", "ended Python"),
    "exit_import": (f"{RIGHT}\nos._exit(0)\n", "stopped", "ended Python"),
    "interrupt": (having("raise KeyboardInterrupt"), "stopped", "ended Python"),
    "patched_allclose": (f"{WRONG}\nnp.allclose = np.array_equal = lambda *a, **k: True\n", "failed", "first axis"),
    "patched_savez": (f"{WRONG}\nnp.savez = lambda *a, **k: None\n", "failed", "first axis"),
    "patched_json_changes_input": (PATCHES + BODY.format("z -= 0.25"), "failed", "changed its input z"),
    "subclass_equals_all": (SUBCLASS, "failed", "expected"),
    "takes_main": (having("sys_.modules['__main__'].load", f"import sys as sys_\n{RIGHT}"), "failed", "no attribute"),
    "pickled_code": (having(PICKLED, f"import io\n{RIGHT}"), REFUSED, "text as code"),
    "timed_text": (having("timeit.timeit('1', number=1)", f"import timeit\n{RIGHT}"), REFUSED, "text as code"),
    "opens_results": (having("os.close(os.open('../results/0.npz', os.O_RDWR))"), REFUSED, "files elsewhere"),
    "traces": (having("bdb.Bdb().set_trace()", f"import bdb\n{RIGHT}"), REFUSED, "imports bdb"),
    "goes_online": (having("socket.socket()", f"import socket\n{RIGHT}"), REFUSED, "go online"),
    "strange_letters": (having("raise ValueError('\\udc80 \\x00 \\n =1+1')"), "failed", "=1+1"),
    "writes_classes": (CLASSES, "passed", ""),
    "patched_engine": (f"import minilm.exercises.checks as c\nc.decide = None\n{WRONG}", FOREIGN, "line 1 imports"),
    "patched_modules": (f"{WRONG}\nsys.modules['minilm.exercises.running'].same = 1\n", FOREIGN, "sys.modules"),
    "inspect": (f"import inspect\n{RIGHT}", FOREIGN, "inspect"),
    "calls_reference": ("from minilm.formulas import cross_entropy\nsoftmax = cross_entropy.softmax\n", FOREIGN, "imp"),
    "opens_library": (having(READS), FOREIGN, "while it ran"),
    "starts_program": (having("os.system('sleep 98765')"), REFUSED, "start a program"),
    "forges_answers": (having("open('../results/0.npz', 'w').write('yes')"), REFUSED, "files elsewhere"),
    "reads_secrets": (having("z = z if 'MINILM_SECRET' not in os.environ else 1 / 0"), "passed", ""),
    "syntax": ("def softmax(z:\n", "failed", "Python cannot read"),
    "latin1": (("latin1/e01_softmax.py", (RIGHT + "# für\n").encode("latin-1")), "failed", "UTF-8"),
    "broken_zip": (("broken_zip.zip", b"PK no zip at all"), "failed", "cannot be unpacked"),
    "nothing": (("nothing/notes.txt", b"I was ill."), "missing", "not handed in"),
}


ended: list[subprocess.Popen] = []


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The whole class, graded once on the command line."""
    patch = pytest.MonkeyPatch()
    patch.setattr(isolated, "end", lambda child: (end(child), ended.append(child)))
    patch.setenv("MINILM_SECRET", "the teacher's own")
    folder = tmp_path_factory.mktemp("class")
    for learner, (handed, _, _) in CLASS.items():
        name, content = handed if isinstance(handed, tuple) else (f"{learner}/e01_softmax.py", handed.encode())
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_bytes(content)
    options = ("--out", f"{folder / 'grades.csv'}", "--seed", "7", "--seconds", "1", "--memory", "150")
    try:
        assert main(["exercise", "grade", str(folder / "in"), "softmax", "log_softmax", *options]) == 0
    finally:
        patch.undo()
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_all_fifty_have_a_row_in_both_tables(graded):
    assert len(CLASS) == 50
    wide, long = table(graded / "grades.csv"), table(graded / "grades_long.csv")
    assert sorted(row["learner"] for row in wide) == sorted(CLASS)
    assert sorted((row["learner"], row["exercise"]) for row in long) == sorted(
        (learner, exercise) for learner in CLASS for exercise in ("softmax", "log_softmax")
    )
    assert {row["seed"] for row in wide + long} == {"7"}
    by = {(row["learner"], row["exercise"]): row["verdict"] for row in long}
    assert all(row["softmax"] == by[row["learner"], "softmax"] for row in wide)


@pytest.mark.parametrize("learner", CLASS)
def test_the_verdict_is_the_one_that_was_earned(graded, learner):
    _, verdict, message = CLASS[learner]
    row = next(r for r in table(graded / "grades_long.csv") if (r["learner"], r["exercise"]) == (learner, "softmax"))
    assert row["verdict"] == verdict, row
    assert message in row["message"]


def test_only_who_wrote_the_second_exercise_passes_it(graded):
    rows = {row["learner"]: row for row in table(graded / "grades.csv")}
    assert rows["right_one_file"]["log_softmax"] == "passed" and rows["right_one_file"]["passed"] == "2"
    others = {row["log_softmax"] for name, row in rows.items() if name not in ("right_one_file", "broken_zip")}
    assert others == {"missing"}


def test_the_mistake_and_its_layer_stand_in_the_long_table(graded):
    rows = {row["learner"]: row for row in table(graded / "grades_long.csv") if row["exercise"] == "softmax"}
    assert rows["wrong_axis"]["mistake"] == "the softmax runs along the first axis instead of the last"
    assert rows["wrong_axis"]["layer"] == "2" and rows["wrong_axis"]["file"] == "e01_softmax.py"
    assert rows["endless"]["layer"] == "" and float(rows["endless"]["seconds"]) > 0


def test_the_page_says_what_the_class_stumbles_over(graded):
    page = (graded / "grades.md").read_text(encoding="utf-8")
    assert "the softmax runs along the first axis instead of the last → notebook 02" in page
    assert "(5 of 48) the softmax runs along the first axis" in page
    assert "- endless, softmax: **time**" in page and "- inspect, softmax: **not their own work**" in page


def test_no_process_is_left(graded):
    handed_in = len(CLASS) - 2 + 1  # two have no file to grade (nothing, a broken zip); one has two
    assert len(ended) == handed_in and all(child.returncode is not None for child in ended)
    for child in ended if hasattr(os, "killpg") else ():
        with pytest.raises(ProcessLookupError):
            os.killpg(child.pid, 0)


def test_what_a_child_has_started_ends_with_it():
    """Child processes of a submission end with it. On Windows the job object ends them, which also closes the pipe."""
    sleeper = "import time; time.sleep(600)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{sleeper}']); print(1, flush=True)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    with JobObject(child, 1 << 30):
        child.stdout.readline()
        out = os.fdopen(os.dup(child.stdout.fileno()), "rb")
        end(child)
    assert out.read() == b""  # returns only when all processes that hold the pipe have ended, and the sleeper does
    out.close()


def test_all_specs_are_loaded_before_the_threads_start(monkeypatch):
    """Python crashes if one thread uses torch while another is still importing it for its spec."""
    loaded = []
    monkeypatch.setattr(grading, "load", lambda name: loaded.append(name) or load(name))
    monkeypatch.setattr(grading, "source_for", lambda submission, entry: Found())
    (first, second) = grading.grade([Submission("anna")], [find("softmax"), find("attention")], 0, grading.Limits())
    assert loaded == ["softmax", "attention"] and first.verdict == second.verdict == "missing"


def test_gradients_by_autograd_are_taken_in_the_child_too():
    exercise = load("attention")
    source = stub(exercise).replace("raise NotImplementedError", "return q @ k @ v")
    made = attempt("attention", "e10_attention", source.encode(), 3, 20, 1024)
    assert len(made.outcomes) > 5 and made.ended[0] == "stopped" and not made.said
