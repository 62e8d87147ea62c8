"""Notebooks put together at random from forms that learners use, and IPython itself as the referee of what they define.

Each notebook defines `softmax`, rightly or wrongly, or loses it again. `referee` runs them in a real IPython shell and calls
what is in its namespace at the end.
"""

import json
import random
import subprocess
import sys
import textwrap

IMPORTS = (
    "import numpy as np",
    "%matplotlib inline\nimport numpy as np",
    "import numpy as np, math; import sys",
    "import math  # do we need this?\nimport numpy as np",
    "try:\n    import numpy as np\nexcept ImportError:\n    raise",
    "try:\n    import cupy_is_not_here as np\nexcept ImportError:\n    import numpy as np",
    "%%capture\nimport numpy as np\nprint('quiet')",
    "%%capture out\nimport numpy as np",
    "%%time\nimport numpy as np",
    "import sys\nif 'google.colab' in sys.modules:\n    !echo colab\nimport numpy as np",
    "import sys\nif True:\n    !echo one\n    %env A=1\nimport numpy as np",
    "files = !echo one two\nimport numpy as np\nprint(len(files))",
    "import numpy as np\n!echo done",
    "x = %env\nimport numpy as np",
    "%env A=1\nimport numpy as np",
    "with open('/dev/null') as f:\n    import numpy as np",
    "from numpy import *\nimport numpy as np",
    "import asyncio\nawait asyncio.sleep(0)\nimport numpy as np",
    "import numpy as np\nraise ValueError('after the import')",
    "for _ in range(2):\n    import numpy as np",
    "import numpy\nnp = numpy",
    "get_ipython().run_line_magic('env', 'A=1')\nimport numpy as np",
    "get_ipython().run_cell('import numpy as np');",
    "\nimport numpy as np\nnp.exp?",
    "?len\nimport numpy as np\n",
    "%load_ext autoreload\n%autoreload 2\nimport numpy as np",
    "text = '''\n%%bash\n!ls\nwhat?\n'''\nimport numpy as np",
    "import \\\n    numpy as np",
    "import numpy as np;",
    "from IPython.display import display\nimport numpy as np\ndisplay(np.ones(2))",
    "# %%\n# In[1]:\nimport numpy as np",
    "%time import numpy as np",
    "%%prun\nimport numpy as np",
)
NO_IMPORTS = (
    "%%bash\nimport numpy as np",
    "1 / 0\nimport numpy as np",
    "%%writefile a.txt\nimport numpy as np",
    "def (:\nimport numpy as np",
)

RIGHT = "e = np.exp(z - z.max(axis=-1, keepdims=True))\nreturn e / e.sum(axis=-1, keepdims=True)"
BODIES = {
    "right": RIGHT,
    "comment": "e = np.exp(z - z.max(axis=-1, keepdims=True))  # is this stable?\nreturn e / e.sum(axis=-1, keepdims=True)  # right?",
    "percent": "e = np.exp(z - z.max(axis=-1, keepdims=True))\ne = (e\n    % 1e300)\nreturn e / e.sum(axis=-1, keepdims=True)",
    "string": "'''What?\n%time\n!ls\n'''\n" + RIGHT,
    "shell": "!echo inside\n" + RIGHT,
    "axis": "e = np.exp(z - z.max(axis=AXIS, keepdims=True))\nreturn e / e.sum(axis=AXIS, keepdims=True)",
    "table": "e = np.exp(z - z.max(axis=T['axis'], keepdims=True))\nreturn e / e.sum(axis=T['axis'], keepdims=True)",
    "helper": "e = shifted(z)\nreturn e / e.sum(axis=-1, keepdims=True)",
    "wrong_axis": RIGHT.replace("-1", "0"),
    "wrong_question": RIGHT.replace("\n", "\ne = e * 2 + 1  # do I need this?\n", 1),
    "wrong_plain": "e = np.exp(z)\nreturn e / e.sum()",
    "wrong_none": "e = np.exp(z)",
    "wrong_error": "raise ValueError('what?')",
}
LAMBDAS = (
    "lambda z: np.exp(z - z.max(-1, keepdims=True)) / np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True)",
    "lambda z: np.exp(z) / np.exp(z).sum()",
)
FORMS = {  # how a definition stands in its cell: {} is the whole `def`
    "plain": "{}",
    "question": "{}\nsoftmax?",
    "two_questions": "??softmax\n{}",
    "comment": "# why not?\n{}\n# ready?",
    "if": "if True:\n{i}",
    "if_not": "if False:\n{i}",
    "else": "if False:\n    pass\nelse:\n{i}",
    "try": "try:\n{i}\nexcept NameError:\n    pass",
    "try_fails": "try:\n    1 / 0\n{i}\nexcept ZeroDivisionError:\n    pass",
    "except": "try:\n    1 / 0\nexcept ZeroDivisionError:\n{i}",
    "finally": "try:\n    pass\nfinally:\n{i}",
    "with": "import contextlib\nwith contextlib.suppress(Exception):\n{i}",
    "for": "for k in range(2):\n{i}",
    "for_empty": "for k in []:\n{i}",
    "while": "k = 0\nwhile k < 1:\n    k += 1\n{i}",
    "match": "match 1:\n    case 1:\n{ii}\n    case _:\n        pass",
    "factory": "def make():\n{i}\n    return softmax\nsoftmax = make()",
    "factory_lost": "def make():\n{i}\n    return softmax\nmake()",
    "global": "def make():\n    global softmax\n{i}\nmake()",
    "class": "class K:\n    @staticmethod\n{i}\nsoftmax = K.softmax",
    "class_lost": "class K:\n{i}",
    "class_body": "class K:\n    A = 1\n{}\n",
    "decorated": "import functools\ndef again(f):\n    @functools.wraps(f)\n    def g(*a): return f(*a)\n    return g\n@again\n{}",
    "renamed": "{}\nmine = softmax\ndel softmax\nsoftmax = mine",
    "deleted": "{}\ndel softmax",
    "overwritten": "{}\nsoftmax = softmax(np.ones((2, 3)))",
    "partial": "import functools\n{}\nsoftmax = functools.partial(softmax)",
    "after_error": "1 / 0\n{}",
    "before_error": "{}\n1 / 0",
    "missing_file": "data = open('not_there.csv').read()\n{}",
    "before_missing_file": "{}\ndata = open('not_there.csv').read()",
    "exit": "{}\nimport sys; sys.exit()",
    "after_exit": "import sys; sys.exit(1)\n{}",
    "interrupt": "{}\nraise KeyboardInterrupt",
    "syntax": "{}\nx = = 1",
    "capture": "%%capture\n{}",
    "time": "%%time\n{}",
    "time_value": "%%time\n{}\nsoftmax(np.ones((1, 2)))",
    "prun": "%%prun -q\n{}",
    "timeit": "%%timeit -n1 -r1\n{}",
    "bash": "%%bash\n: <<'E'\n{}\nE",
    "html": "%%html\n{}",
    "javascript": "%%javascript\n{}",
    "writefile": "%%writefile softmax_of_mine.py\n{}",
    "written_and_run": None,
    "written_and_imported": None,
    "indented_magic": "if True:\n    %env A=1\n{i}",
    "magic_first": "%env A=1\n{}",
    "timeit_line": "{}\n%timeit -n1 -r1 softmax(np.ones((2, 3)))",
    "time_line": "{}\n%time y = softmax(np.ones((2, 3)))",
    "shell_last": "{}\n!echo yes",
    "assigned_shell": "x = !echo yes\n{}",
    "run_cell": None,
    "await": "import asyncio\nawait asyncio.sleep(0)\n{}",
    "await_last": "import asyncio\n{}\nx = await asyncio.gather(asyncio.sleep(0))",
    "async_for": "async def gen():\n    yield 1\nasync for k in gen():\n{i}",
    "display": "{}\nfrom IPython.display import Markdown\ndisplay(Markdown('# yes'))",
    "continued": "x = 1 + \\\n    2\n{}",
    "semicolon": "{}\nsoftmax(np.ones((1, 2)));",
    "setitem": "T2 = {{}}\n{}\nT2['f'] = softmax\nsoftmax = T2['f']",
    "globals": None,
    "string": "text = '''\n{}\n'''",
    "input": "name = input('your name? ')\n{}",
    "after_input": "{}\nname = input('your name? ')",
    "recursion": "{}\ndef f(): return f()\nf()",
    "assert": "{}\nassert softmax(np.ones((1, 3))).shape == (1, 3), 'what?'",
    "print": "{}\nprint('x' * 100_000)\nfor i in range(3): print(i)",
    "indented_cell": "INDENT",
    "prompt": "PROMPT",
    "future": "from __future__ import annotations\n{}",
    "star_tuple": "{}\nsoftmax, *rest = softmax, 1, 2",
    "walrus": "{}\n(softmax := softmax)",
    "help_call": "{}\nhelp(len)",
    "underscore": "{}\n1 + 1\n_",
    "psource": "%psource len\n{}",
    "reset": "{}\n%reset -f",
    "exit_name": "{}\nexit",
    "cd": "%cd .\n{}",
    "skipped_line": "{}\n#%time\n# !rm -rf x\n# %%bash",
    "magic_in_body": "MAGIC",
    "auto_magic": "AUTO",
}
CONSTANTS = (
    "AXIS = -1\nT = {'axis': -1}",
    "AXIS = -1\nAXIS += 1\nT = {'axis': -1}\nT['axis'] += 1",
    "AXIS, T = -1, {}\nT['axis'] = -1",
    "AXIS, T = 0, {}\nT['axis'] = 0",
    "for AXIS in (0, -1):\n    T = dict(axis=AXIS)",
    "import sys\nmatch sys.platform:\n    case _:\n        AXIS = -1\nT = {'axis': 0}\nT.update(axis=-1)",
    "AXIS = -1\nT = {'axis': -1}\nif AXIS == -1:\n    AXIS = T['axis'] = 0",
    "AXIS = 0\nT = {'axis': AXIS}\ntry:\n    AXIS = T['axis'] = -1\n    1 / 0\n    AXIS = 0\nexcept ZeroDivisionError:\n    pass",
    "(AXIS := -1)\nT = {'axis': -1}",
    "class C:\n    AXIS = 0\nAXIS = C.AXIS - 1\nT = {'axis': -1}",
    "AXIS = -1\nT = {'axis': -1}\ndel T['axis']\nT['axis'] = 0",
    "%%capture\nAXIS = -1\nT = {'axis': -1}",
    "%%time\nAXIS = -1\nT = {'axis': -1}",
    "%%bash\nAXIS=-1",
    "AXIS = -1\nT = {'axis': -1}\n1 / 0\nAXIS = 0",
    "import functools\nAXIS = functools.reduce(min, [3, -1])\nT = {'axis': AXIS}",
    "%time AXIS = -1\nT = {'axis': AXIS}",
    "%timeit -n1 -r1 AXIS = -1\nT = {'axis': -1}",
)
HELPERS = (
    "def shifted(z):\n    return np.exp(z - z.max(axis=-1, keepdims=True))",
    "shifted = lambda z: np.exp(z - z.max(-1, keepdims=True))  # or not?",
    "def shifted(z):\n    return np.exp(z - z.max(axis=-1, keepdims=True))\nif True:\n    def shifted(z):\n        return np.exp(z)",
    "%%capture\ndef shifted(z):\n    return np.exp(z - z.max(axis=-1, keepdims=True))",
    "class K:\n    def __call__(self, z):\n        return np.exp(z - z.max(axis=-1, keepdims=True))\nshifted = K()",
    "shifted = np.exp",
    "def shifted(z, offset=[0]):\n    return np.exp(z - z.max(axis=-1, keepdims=True))\ndel shifted",
)
TRIALS = (
    "softmax(np.array([[1.0, 2.0]]))",
    "np.load('data.npy')",
    "import pandas_is_not_here",
    "1 / 0",
    "print(softmax(np.zeros((2, 2))))",
    "def softmax(",
    "softmax?",
    "%timeit -n1 -r1 softmax(np.ones((3, 4)))",
    "%%timeit -n1 -r1\nsoftmax(np.ones((3, 4)))",
    "!echo trying",
    "%%bash\necho softmax",
    "z = np.ones((2, 3)); z -= 1",
    "for z in range(3): pass",
    "e = 5\nnp_is_fine = np",
    "softmax.__name__ = 'mine'",
    "assert False, 'why?'",
    "import sys\nsys.exit()",
    "x = input()",
    "print('softmax = 3')",
    "%%html\n<b>softmax</b>",
    "_ = softmax",
    "del z",
    "%whos",
    "display(softmax)",
    "In, Out, _",
    "",
    "   ",
    "# only a comment?",
    "'''softmax?'''",
    "np.random.seed(0)",
    "import warnings; warnings.simplefilter('error')",
    "np.seterr(all='ignore')",
    "old = softmax\ndef later(z): return old(z)",
    "raise SystemExit",
)


def definition(rng: random.Random, body: str) -> str:
    return "def softmax(z):\n" + textwrap.indent(BODIES[body], "    ")


def cell(rng: random.Random) -> list[str]:
    """One definition of softmax, mostly right, in one of the forms; some forms take two cells."""
    if rng.random() < 0.1:
        return [f"softmax = {rng.choice(LAMBDAS)}"]
    body = rng.choice([b for b in BODIES if not b.startswith("wrong")] if rng.random() < 0.65 else list(BODIES))
    text, form = definition(rng, body), rng.choice(list(FORMS))
    if form == "run_cell":
        return [f"get_ipython().run_cell({text!r});", ""]
    if form == "globals":
        return [text.replace("def softmax", "def mine") + "\nglobals()['softmax'] = mine"]
    if form == "written_and_run":
        return [f"%%writefile of_mine_{body}.py\nimport numpy as np\n{text}", f"%run of_mine_{body}.py"]
    if form == "written_and_imported":
        name = f"of_mine_too_{body}"
        return [f"%%writefile {name}.py\nimport numpy as np\n{text}", f"from {name} import softmax"]
    if form == "indented_cell":
        return [textwrap.indent(text, "    ")]
    if form == "prompt":
        lines = text.split("\n")
        return ["\n".join([f">>> {lines[0]}", *(f"... {line}" for line in lines[1:])])]
    if form == "magic_in_body":
        return [text.replace(":\n", ":\n    %env A=2\n", 1)]
    if form == "auto_magic":
        return ["pwd", text]
    pattern = FORMS[form]
    return [pattern.format(text, i=textwrap.indent(text, "    "), ii=textwrap.indent(text, " " * 8))]


def notebook(seed: int) -> list[str]:
    """The code cells of one notebook."""
    rng = random.Random(seed)
    cells = [rng.choice(IMPORTS if rng.random() < 0.93 else NO_IMPORTS), rng.choice(CONSTANTS), rng.choice(HELPERS)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        cells += cell(rng)
        cells += rng.sample(TRIALS, rng.choice((0, 1, 2)))
    if rng.random() < 0.2:
        cells.append(rng.choice(CONSTANTS))
    return cells


REFEREE = r"""
import contextlib, io, json, os, sys, tempfile
os.chdir(tempfile.mkdtemp())
sys.path.insert(0, os.getcwd())
import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from scipy.special import softmax as right
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
shell.showtraceback = shell.showsyntaxerror = lambda *_, **__: None  # they take most of the time
shell.enable_gui = lambda *_, **__: None  # as in Jupyter, where %matplotlib inline needs none
answers = []
rng = np.random.default_rng(3)
cases = [rng.normal(size=shape) for shape in ((2, 3), (4, 4), (3, 5), (1, 1), (2, 2))]
cases += [1000 + rng.normal(size=(3, 5)), np.array([[0.0, 1, 2], [3, 3, 3]])]
for cells in json.load(sys.stdin):
    shell.reset(new_session=True)
    for name in [name for name in sys.modules if name.startswith("of_mine")]:
        del sys.modules[name]
    kept = np.geterr()
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        for cell in cells:
            shell.run_cell(cell, store_history=True)
        import warnings
        warnings.simplefilter("ignore")
        np.seterr(**kept)
        found = shell.user_ns.get("softmax")
        try:
            with shell.builtin_trap, np.errstate(all="ignore"):
                same = callable(found) and all(
                    isinstance(y := found(z.copy()), np.ndarray) and np.allclose(y, right(z, axis=-1), 1e-8, 1e-8) for z in cases
                )
        except BaseException as error:
            same = False
    answers.append(bool(same))
sys.__stdout__.write("\n" + json.dumps(answers))
"""


def referee(notebooks: list[list[str]]) -> list[bool]:
    """For each notebook, whether the `softmax` that IPython has at the end is right."""
    ran = subprocess.run(
        [sys.executable, "-c", REFEREE], input=json.dumps(notebooks), capture_output=True, text=True, encoding="utf-8"
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])
