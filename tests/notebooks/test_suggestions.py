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
import os
import re
from pathlib import Path

import pytest
from changes import build, changed, code, last_affected, paragraphs, sections, suggested
from readers import followed

HERE = Path(__file__).parent
EVERY_CELL = os.environ.get("EVERY_CELL") == "1"
SOURCES = build.sources()
by_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


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


@by_notebook
def test_the_notebook_runs_and_no_suggestion_raises(source, tmp_path, tmp_path_factory):
    chosen = tries(source)
    changes = [change for _, change in chosen]
    report = followed(code(source), changes, tmp_path, tmp_path_factory.mktemp("own"), fast=True)
    assert report["whole"] == "" and not list(tmp_path.iterdir())
    assert not [cell["err"] for cell in report["outputs"] if cell["err"]]
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
    report = followed(cells, changes, tmp_path, tmp_path_factory.mktemp("own"), fast=True)
    assert report["whole"] == "" and "✓ x is 1" in report["outputs"][2]["out"]
    assert report["prints"][0] == "no longer true: x is 1\n[2]\n"  # no "Out[…]:"
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
    false = followed([cells[0], "claim('no', False)"], [], tmp_path, tmp_path_factory.mktemp("own"), fast=True)
    assert false["whole"].startswith("code cell 2: AssertionError: no longer true: no")
    with pytest.raises(RuntimeError, match="the process died .status 1024."):
        followed(["import os\nos._exit(4)"], [], tmp_path, tmp_path_factory.mktemp("own"), fast=True)


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
