"""How long `minilm exercise check` takes for all references, each in a learner's file."""

import ast
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from minilm.exercises.catalogue import find, load
from minilm.exercises.spec import Exercise
from minilm.exercises.stub import Definition, definition, parts, source_of


def seconds_for(names: Iterable[str]) -> tuple[float, float, str]:
    """`minilm exercise check` on files that hold the library's own code: seconds by the clock, seconds of the processor
    (0 on Windows, which does not tell), and what it said if one of them fails."""
    names = list(names)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            Path(folder, f"{find(name).stem}.py").write_text(solved(load(name)), encoding="utf-8")
        places = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-m", "minilm.cli", "exercise", "check", *names, f"--folder={folder}"]
        begun, before = time.perf_counter(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)
        seconds, after = time.perf_counter() - begun, os.times()
    processor = sum(after[2:4]) - sum(before[2:4])  # of the child, its own and the system's for it
    return round(seconds, 1), round(processor, 1), done.stdout + done.stderr if done.returncode else ""


def solved(exercise: Exercise) -> str:
    """A learner's file with the library's own code in it."""
    written = parts(exercise)
    text = []
    for module in dict.fromkeys(part.rpartition(".")[0] for part in written):
        source, tree = source_of(module)
        nodes = [definition(part)[1] for part in written if part.rpartition(".")[0] == module]
        used = {name.id for node in nodes for name in ast.walk(node) if isinstance(name, ast.Name)}
        there = set().union(*map(names_of, tree.body)) & used - {node.name for node in nodes}
        text += [
            ast.unparse(statement) for statement in tree.body if isinstance(statement, ast.Import | ast.ImportFrom)
        ]
        text += [f"from {module} import {', '.join(sorted(there))}"] if there else []
        for node in sorted(nodes, key=lambda node: node.lineno):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            text.append("\n\n" + "\n".join(source.splitlines()[first - 1 : node.end_lineno]))
    return "\n".join(text) + "\n"


def names_of(statement: ast.stmt) -> set[str]:
    """What a statement of a module defines, imports aside."""
    if isinstance(statement, Definition):
        return {statement.name}
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return {n.id for target in targets if target for n in ast.walk(target) if isinstance(n, ast.Name)}
