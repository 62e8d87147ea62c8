"""Five wrong versions and two unusual right ones of every exercise, by somebody who had not seen the checks.

`hunt/01_softmax.txt` holds those of softmax: `=== wrong1: the mistake`, an input for which it is wrong, the names that the check
gives it, if it gives any, and the bodies of the functions (`--- name`). A version takes from `base`, which is right, what it does
not write itself; one that is marked `--- @alone` takes nothing. `python tests/exercises/test_hunt.py` prints the figures.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from minilm.exercises.catalogue import load
from minilm.exercises.learner import check_file
from minilm.exercises.stub import stub

HUNT = Path(__file__).with_name("hunt")
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}
PASSES = {  # wrong versions that pass, and why that is right
    "layer_norm wrong2": "the same function; it only loses digits where the mean is ten thousand times the spread",
    "layer_norm_gradient wrong5": "the same function; it only loses digits where the mean is ten thousand times the spread",
    "heads wrong5": "it fails for a mask of shape [T], and the task lists the shapes that a mask may have",
    "clipping wrong2": "it puts new tensors into parameter.grad, which the task leaves open",
    "clipping wrong3": "it divides by the norm without the 10⁻⁶, which the task leaves open",
    "sampling wrong4": "it differs only where a sum equals top_p to the last bit, and there rounding decides",
    "binary_cross_entropy wrong4": "it fails for labels of unsigned bytes, which nothing promises",
    "gru_cell wrong4": "it fails for an h0 of whole numbers; to give the result the type of an input is good style",
    "perplexity wrong2": "it fails for infinite logits, and the task says that all are finite",
}


def versions(path):
    """version → its mistake, the names that it is given, and its parts: function → body."""
    found = {}
    for text in re.split(r"^=== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, *parts = re.split(r"^--- ", text, flags=re.MULTILINE)
        version, _, mistake = head.split("\n")[0].partition(": ")
        named = re.search(r"^named: (.+)$", head, re.MULTILINE)
        bodies = {part.split("\n")[0]: part.partition("\n")[2] for part in parts}
        found[version] = mistake, named[1].split() if named else [], bodies
    return found


def filled(empty, parts):
    """A stub as a learner's file: the bodies in their places, with what they import and define besides."""
    tree = ast.parse(empty)
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in (part for part in inside if isinstance(part, ast.FunctionDef)):
            where = function.name if function is node else f"{node.name}.{function.name}"
            function.body = ast.parse(parts[where]).body if where in parts else function.body
        if isinstance(node, ast.ClassDef):
            inside += ast.parse(parts.get(f"@class {node.name}", "")).body
    first = next(i for i, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef | ast.ClassDef))
    tree.body[first:first] = ast.parse(parts.get("@imports", "") + "\n" + parts.get("@prelude", "")).body
    return ast.unparse(ast.fix_missing_locations(tree))


def hunt():
    """Check every version, as `minilm exercise check` does: one row for each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(HUNT.glob("*.txt")):
            exercise, found = load(path.stem[3:]), versions(path)
            empty, (_, _, base) = stub(exercise, guided=False), found.pop("base")
            for version, (mistake, named, parts) in found.items():
                parts = parts if "@alone" in parts else base | parts
                file = Path(folder, f"{path.stem}_{version}.py")
                file.write_text(filled(empty, parts), encoding="utf-8")
                report = check_file(exercise, file)
                rows.append({
                    "version": f"{exercise.name} {version}", "mistake": mistake, "passed": report.passed,
                    "layer": report.layer, "named": sorted(report.named), "judged": sorted(named), "report": str(report),
                })  # fmt: skip
    return rows


def test_the_hunt():
    """In a process of its own, in which the shapes in signatures are not checked: that is three times as fast."""
    done = subprocess.run(
        [sys.executable, __file__, "--json"], capture_output=True, text=True, encoding="utf-8", env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    wrong, right = ([row for row in rows if f" {sort}" in row["version"]] for sort in ("wrong", "right"))
    assert (len(wrong), len(right)) == (5 * 48, 2 * 48)
    refused = [f"{row['version']}: {row['mistake']}\n{row['report']}" for row in right if not row["passed"]]
    assert not refused, "\n".join(refused)
    assert {row["version"] for row in wrong if row["passed"]} == set(PASSES)
    names = [f"{row['version']}: {row['mistake']}\n{row['report']}" for row in wrong if row["named"] != row["judged"]]
    assert not names, "read whether these names are right, and write them into hunt/:\n" + "\n".join(names)


def figures(rows):
    wrong, right = ([row for row in rows if f" {sort}" in row["version"]] for sort in ("wrong", "right"))
    rejected = [row for row in wrong if not row["passed"]]
    yield f"{len(rejected)} of {len(wrong)} wrong versions rejected, {sum(bool(row['named']) for row in wrong)} named"
    yield f"{sum(row['passed'] for row in right)} of {len(right)} right versions accepted"
    yield from (f"passes: {row['version']}: {row['mistake']}" for row in wrong if row["passed"])


if __name__ == "__main__":
    checked = hunt()
    print(json.dumps(checked) if "--json" in sys.argv else "\n".join(figures(checked)))
