"""Whoever follows "What to try" sees a result, never an exception: each suggestion is done literally, and more besides.

`suggestions/NN_name.py` says for each sentence which code a reader changes. A change is (old, new), where `old` occurs once in
the code of the notebook, or ("after", old, new): a new cell below the cell that contains `old`. The changed notebook runs to its
end at the small sizes. `VARIATIONS` change something in every section that no sentence mentions. To save half of the time,
a variation runs only to the end of its section, and no picture is drawn beyond the section that is changed; with
EVERY_CELL=1 in the environment, all cells run and all pictures are drawn.
"""

import json
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from pages import TOP, program

HERE = Path(__file__).parent
EVERY_CELL = os.environ.get("EVERY_CELL") == "1"
build = program("build")
SOURCES = [path for path in build.sources() if (HERE / "suggestions" / path.name).exists()]
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
    return {"first": first, "cells": left, "drawn": end + 1 + len(below) - first}


def tries(source: Path) -> list[tuple[str, dict]]:
    """What `learner.py` is to run: what each change is called in a message, and its cells."""
    module, cells, parts = suggested(source), code(source), sections(source)
    found = [(text, changed(cells, edits, parts)) for text, edits in module.TRY]
    for edits in module.VARIATIONS:
        change = changed(cells, edits, parts)
        if not EVERY_CELL:
            change["cells"] = change["cells"][: change["drawn"]]
        found.append((f"variation: {edits[0][-2]!r} → {edits[0][-1]!r}", change))
    if EVERY_CELL:
        found = [(what, change | {"drawn": len(change["cells"])}) for what, change in found]
    return found


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


# ------------------------------------------------------------------------------- following them


@by_notebook
def test_the_notebook_runs_and_no_suggestion_raises(source, tmp_path, tmp_path_factory):
    chosen = tries(source)
    work = {"cells": code(source), "changes": [change for _, change in chosen]}
    path = os.pathsep.join([str(TOP), os.environ.get("PYTHONPATH", "")])
    small = {"MINILM_FAST": "1", "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, HERE / "learner.py"],
        input=json.dumps(work),
        cwd=tmp_path,
        env=os.environ | small | {"IPYTHONDIR": str(tmp_path_factory.mktemp("ipython"))},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["whole"] == "" and "Warning" not in report["printed"] and not list(tmp_path.iterdir())
    raised = [f"{text}\n  {said}" for (text, _), said in zip(chosen, report["changes"]) if said]
    assert not raised, f"{len(raised)} of {len(chosen)}:\n" + "\n\n".join(raised)
