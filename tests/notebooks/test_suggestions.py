"""Whoever follows "What to try" sees a result, never an exception: each suggestion is done literally, and more besides.

`suggestions/NN_name.py` says for each sentence which code a reader changes. A change is (old, new), where `old` occurs once in
the code of the notebook, or ("after", old, new): a new cell below the cell that contains `old`. `VARIATIONS` change something in
every section that no sentence mentions.

The changed notebook runs at the small sizes. To save time, it ends with the last cell that reads a name which the changed
section defines (a variation ends with its section), and pictures are drawn only in that section. Of several changes for one
sentence ("to 1, then to 20") the last is made, and of the variations every third. With EVERY_CELL=1 in the environment every
change is made, runs to the end and is drawn: do that after you have changed a notebook or what it imports.
"""

import ast
import json
import os
import re
import subprocess
import symtable
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from pages import TOP, program

HERE = Path(__file__).parent
EVERY_CELL = os.environ.get("EVERY_CELL") == "1"
build = program("build")
SOURCES = build.sources()
by_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def suggested(source: Path) -> ModuleType:
    spec = spec_from_file_location(f"suggestions_{source.stem}", HERE / "suggestions" / source.name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code(source: Path) -> list[str]:
    return [cell.source for cell in build.read(source).cells if cell.cell_type == "code"]


def paragraphs(source: Path) -> list[str]:
    """The paragraphs "What to try", each as one line without these words."""
    text = "\n\n".join(cell.source for cell in build.read(source).cells if cell.cell_type == "markdown")
    found = re.findall(r"^\*\*What to try\.\*\*(.*?)(?=\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(found) == len(re.findall("what to try", text, re.IGNORECASE)), "a paragraph of another form"
    return [" ".join(paragraph.split()) for paragraph in found]


def sections(source: Path) -> list[list[int]]:
    """The numbers of the code cells under each heading, beginning with those before the first heading."""
    found: list[list[int]] = [[]]
    count = 0
    for cell in build.read(source).cells:
        if cell.cell_type == "code":
            found[-1].append(count)
            count += 1
        elif re.search(r"^## ", cell.source, re.MULTILINE):
            found.append([])
    return found


def changed(cells: list[str], edits: list[tuple[str, ...]], parts: list[list[int]]) -> dict:
    """The cells from the first one that differs on, its number, and how many cells the changed sections have from there on.

    Raises AssertionError if an edit does not fit.
    """
    new, below, first, touched = list(cells), {}, len(cells), []
    for edit in edits:
        old = edit[-2]
        at = [number for number, cell in enumerate(cells) if old in cell]
        assert len(at) == 1 and cells[at[0]].count(old) == 1, f"not once in the code: {old!r}"
        touched += at
        if len(edit) == 3:
            assert edit[0] == "after", edit
            below[at[0]] = edit[-1]
            first = min(first, at[0] + 1)
        else:
            assert new[at[0]].count(old) == 1, f"another change of the same suggestion has touched it: {old!r}"
            new[at[0]] = new[at[0]].replace(old, edit[-1])
            first = min(first, at[0])
    end = max(part[-1] for part in parts if set(part) & set(touched))
    whole = [[cell, below[number]] if number in below else [cell] for number, cell in enumerate(new)]
    left = [cell for pair in whole for cell in pair][first:]
    drawn = end + 1 + len(below) - first
    affected = last_affected(cells, min(touched), end) + 1 + len(below) - first
    return {"first": first, "cells": left, "drawn": drawn, "affected": affected}


def global_reads(node: ast.AST) -> set[str]:
    """The names of the notebook that a function, or an expression with variables of its own, reads."""

    def reads(table: symtable.SymbolTable) -> set[str]:
        own = {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
        return own.union(*(reads(child) for child in table.get_children()))

    table = symtable.symtable(ast.unparse(node), "a cell", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_referenced()} | reads(table)


class Names(ast.NodeVisitor):
    """What a cell reads from cells above it, what it defines or changes, and what each of its functions reads."""

    def __init__(self, cell: str):
        self.reads, self.writes, self.functions = set(), set(), {}
        self.visit(ast.parse(cell))

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            self.reads |= {node.id} - self.writes
        else:
            self.writes.add(node.id)

    def visit_alias(self, node):
        self.writes.add((node.asname or node.name).split(".")[0])

    def visit_Assign(self, node):
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            if isinstance(target, ast.Attribute | ast.Subscript):  # a.b = … and a[0] = … change a
                self.writes |= {n.id for n in ast.walk(target.value) if isinstance(n, ast.Name)}
            elif isinstance(target, ast.Name) and isinstance(node.value, ast.Lambda):
                self.functions[target.id] = global_reads(node.value)

    def visit_For(self, node):
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def visit_AugAssign(self, node):
        self.visit(node.value)
        changed_names = {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
        self.reads |= changed_names - self.writes
        self.writes |= changed_names

    def visit_FunctionDef(self, node):
        self.functions[node.name] = global_reads(node)
        self.writes.add(node.name)

    def inner(self, node):
        self.reads |= global_reads(node) - self.writes

    visit_ClassDef = visit_FunctionDef
    visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = inner


def last_affected(cells: list[str], first: int, end: int) -> int:
    """The last cell that reads, directly or through a function, what the cells from `first` to `end` define or change."""
    found = [Names(cell) for cell in cells]
    functions = {name: reads for cell in found for name, reads in cell.functions.items()}
    changed_names, last = set().union(*(cell.writes for cell in found[first : end + 1])), end
    for number in range(end + 1, len(cells)):
        reads, todo = set(), set(found[number].reads)
        while todo:
            reads |= todo
            todo = set().union(*(functions.get(name, set()) for name in todo)) - reads
        if reads & changed_names:
            last = number
            changed_names |= found[number].writes
        else:
            changed_names -= found[number].writes
    return last


def tries(source: Path) -> list[tuple[str, dict]]:
    """What `learner.py` is to run: what each change is called in a message, and its cells. Those left out must fit, too."""
    module, cells, parts = suggested(source), code(source), sections(source)

    def made(named: list[tuple[str, list]], until: str) -> list[tuple[str, dict]]:
        found = [(what, changed(cells, edits, parts)) for what, edits in named]
        for _, change in found:
            if EVERY_CELL:
                change["drawn"] = len(change["cells"])
            else:
                change["cells"] = change["cells"][: change[until]]
        return found

    sentences = made(module.TRY, "affected")
    named = [(f"variation: {edits[0][-2]!r} → {edits[0][-1]!r}", edits) for edits in module.VARIATIONS]
    variations = made(named, "drawn")
    return sentences + variations if EVERY_CELL else [*dict(sentences).items(), *variations[::3]]


# ------------------------------------------------------------------------------- the lists are complete


def test_every_notebook_has_its_list():
    assert [path.name for path in sorted((HERE / "suggestions").glob("*.py"))] == [path.name for path in SOURCES]


@by_notebook
def test_every_sentence_of_what_to_try_is_in_the_list(source):
    module = suggested(source)
    texts = {text for text, _ in module.TRY} | set(module.REMARKS)
    left = paragraphs(source)
    for text in sorted(texts, key=len, reverse=True):
        assert sum(paragraph.count(text) for paragraph in left) == 1, f"not once in a paragraph: {text}"
        left = [paragraph.replace(text, "") for paragraph in left]
    assert [rest for paragraph in left if (rest := paragraph.strip(" ·"))] == []


@by_notebook
def test_no_entry_stands_for_two_suggestions(source):
    """An entry ends where its sentence does; only the questions about it may follow."""
    for text, edits in suggested(source).TRY:
        assert edits and all(edit[-2] != edit[-1] for edit in edits), text
        outside = re.sub(r"\([^()]*\)|`[^`]*`", "", text)  # what is in brackets explains
        statements = [part for part in re.split(r"(?<=[.?!])\s+", outside.strip()) if not part.endswith("?")]
        assert len(statements) <= 1 and " · " not in text, text


@by_notebook
def test_every_section_is_varied(source):
    cells = code(source)
    parts = sections(source)
    firsts = [changed(cells, edits, parts)["first"] for edits in suggested(source).VARIATIONS]
    missing = [numbers for numbers in parts[1:] if numbers and not set(numbers) & set(firsts)]
    assert not missing, f"no variation in the section of code cell {missing[0][0] + 1}: {cells[missing[0][0]][:200]}"


@by_notebook
def test_a_picture_comes_before_what_is_claimed_about_it(source):
    for number, cell in enumerate(code(source)):
        tree = ast.parse(cell)
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)], (
            f"code cell {number + 1}: use claim"
        )
        claims = [
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "claim"
        ]
        assert not (claims and cell.splitlines()[-1] == "picture"), f"code cell {number + 1}: its picture comes last"


# ------------------------------------------------------------------------------- following them


def followed(cells: list[str], changes: list[dict], folder: Path, ipython: Path) -> dict:
    """The report of `learner.py` on these cells and changes, at the small sizes, in `folder`."""
    path = os.pathsep.join([str(TOP), os.environ.get("PYTHONPATH", "")])
    small = {"MINILM_FAST": "1", "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, HERE / "learner.py"],
        input=json.dumps({"cells": cells, "changes": changes}),
        cwd=folder,
        env=os.environ | small | {"IPYTHONDIR": str(ipython), "TMPDIR": str(ipython)},  # forks leave their files behind
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@by_notebook
def test_the_notebook_runs_and_no_suggestion_raises(source, tmp_path, tmp_path_factory):
    chosen = tries(source)
    report = followed(code(source), [change for _, change in chosen], tmp_path, tmp_path_factory.mktemp("ipython"))
    assert report["whole"] == "" and "Warning" not in report["printed"] and not list(tmp_path.iterdir())
    raised = [f"{text}\n  {said}" for (text, _), said in zip(chosen, report["changes"]) if said]
    assert not raised, f"{len(raised)} of {len(chosen)}:\n" + "\n\n".join(raised)


# ------------------------------------------------------------------------------- the test can fail


def test_what_raises_is_seen(tmp_path, tmp_path_factory):
    picture = "class Broken:\n    def _repr_png_(self):\n        raise ValueError('drawn')\n\n\n"
    cells = ["from minilm.viz.teaching import claim", "x = [1]", "y = 1 / x[0]\nclaim('x is 1', y == 1)", "x"]
    changes = [
        {"first": 1, "cells": ["x = [2]", *cells[2:]], "drawn": 3},  # false, but not an error
        {"first": 1, "cells": ["x = [0]", *cells[2:]], "drawn": 3},
        {"first": 2, "cells": ["x.append(0)\nx.pop(0)\nundefined", cells[3]], "drawn": 2},
        {"first": 2, "cells": ["import os\nos._exit(3)"], "drawn": 1},
        {"first": 4, "cells": ["1 / (len(x) - 1)"], "drawn": 1},  # no change has reached the others
        {"first": 3, "cells": [picture + "Broken()"], "drawn": 1},
        {"first": 3, "cells": [picture + "Broken()"], "drawn": 0},
        {"first": 3, "cells": ["%timeit -n 1 -r 1 x", "%no_such_magic"], "drawn": 2},
    ]
    report = followed(cells, changes, tmp_path, tmp_path_factory.mktemp("ipython"))
    assert report["whole"] == "" and "✓ x is 1" in report["printed"]
    said = [said.split("\n")[0] for said in report["changes"]]
    assert said == [
        "",
        "code cell 3: ZeroDivisionError: division by zero",
        "code cell 3: NameError: name 'undefined' is not defined",
        "the process died (status 768)",
        "code cell 5: ZeroDivisionError: division by zero",
        "code cell 4: ValueError: drawn",
        "",  # it is not drawn
        "code cell 5: UsageError: Line magic function `%no_such_magic` not found.",
    ]
    false = followed([cells[0], "claim('no', False)"], [], tmp_path, tmp_path_factory.mktemp("ipython"))
    assert false["whole"].startswith("code cell 2: AssertionError: no longer true: no")


def test_a_change_runs_as_far_as_it_reaches():
    cells = [
        "import numpy as np",
        "x = 1",
        "def f(a):\n    x_ = a\n    return x_ + x",
        "z = [x for x in range(3)]",  # this x is the list's own
        "y = f(2)",
        "for k in range(3):\n    k += y",
        "x = 5\nx += 1",
        "w = x",  # not the x of above
        "g = lambda: k",
        "table = {}",
        "table['a'] = g()",
        "table",
        "np.ones(3)",
    ]
    assert [last_affected(cells, first, first) for first in range(len(cells))] == [
        12,
        11,
        11,
        3,
        11,
        11,
        7,
        7,
        11,
        11,
        11,
        11,
        12,
    ]
