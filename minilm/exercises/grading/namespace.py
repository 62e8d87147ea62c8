"""The functions of a notebook, taken from what is in its namespace after all cells have run. Runs in the child process."""

import ast
import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minilm.exercises import learner
from minilm.exercises.grading import guard
from minilm.exercises.grading.cells import Definition, names_bound
from minilm.exercises.grading.own_work import (
    ABSENT,
    FOREIGN,
    REFUSED,
    UNREADY,
    first_violation,
    imported_beside,
    violation_in,
)
from minilm.exercises.grading.shell import Notebook
from minilm.exercises.grading.withheld import Withheld, Withholding
from minilm.exercises.spec import Exercise, Pieces

Said = tuple[str, ...]  # (verdict, lines …); () if there is nothing to say
NAMED = types.FunctionType | types.BuiltinFunctionType | type  # these know in which module they were made


def from_notebook(
    exercise: Exercise,
    notebook: Notebook,
    cells: list[str],
    given: dict[str, set[str]],
    tell: Callable[[int, int, int, float], None],
    deny: Callable[..., None],
) -> tuple[Pieces, Said]:
    """Run the cells and return the functions that are there at the end, or what there is to say instead. Raises Unready."""
    with guard.hidden(given):
        withheld = Withholding(lambda: deny(guard.FOREIGN))
        sys.meta_path.insert(0, withheld)
        notebook.run(cells, tell)
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not withheld]
    deny()  # from now on, strictly
    names, targets = notebook.names_for(exercise.name), list(exercise.targets)
    kept = notebook.statements(targets)
    makers = {name: notebook.makers(name) for name in targets}
    for name in targets:
        written = [node for node in makers[name] if not isinstance(node, ast.Import | ast.ImportFrom)]
        if not written and isinstance(names.get(name), Withheld):  # imported to be used, perhaps by another exercise
            return {}, (ABSENT, f"the `{name}` in the notebook is the library's own: write it yourself.")
        defined = any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in written)
        if name not in names or not (callable(names[name]) or defined):
            tried, sentence = notebook.missing(name)
            return {}, (UNREADY if tried and (defined or name not in names) else ABSENT, f"{sentence}.")
    for cell, statement in kept:
        if said := first_violation(exercise, ast.Module([statement], [])):
            return {}, (said[0], f"cell {cell}, {said[1]}")
    tree = ast.Module([], [])
    beside = {file for name in targets if (file := made_in(names[name])) and file.parent == notebook.home}
    for _, statement in kept:
        files = imported_beside(statement, notebook.home)
        tree.body += [] if files else [statement]  # instead of the import, the files themselves
        beside |= set(files)
    for file in sorted(beside):
        if found := violation_in(file, exercise):
            return {}, (found[0], f"{file.name}, {found[1]}")
        tree.body += ast.parse(learner.read(file)).body
    for name in targets:
        if strange := not_of_the_notebook(name, names[name], makers[name], notebook):
            return {}, strange
    # All that is kept belongs to the solution, also what stands inside an `if` or `match`, or is defined by a `global`.
    bound = [(name, node) for _, statement in kept for name, node in names_bound(statement)]
    tree.body += [node for _, node in bound if isinstance(node, Definition)]
    used = "".join(f"{name}, " for name in dict.fromkeys(name for name, _ in bound))
    tree.body += ast.parse("\n".join(f"{name} = ({used})" for name in targets)).body
    return learner.find_pieces(exercise, dict(names), tree, "the notebook"), ()


def not_of_the_notebook(name: str, value: Any, makers: list[ast.AST], notebook: Notebook) -> Said:
    """What to say about a function that was not written in the notebook, or in a file beside it; () if it was."""
    file, module = made_in(value), getattr(value, "__module__", None) or "__main__"
    written = [node for node in makers if not isinstance(node, ast.Import | ast.ImportFrom)]
    if isinstance(value, Withheld):
        return FOREIGN, f"the `{name}` in the notebook is the library's own: write it yourself."
    if file and (file.parent == notebook.home or str(file) in notebook.blocks):
        return ()
    if isinstance(value, NAMED) and module != "__main__":
        return (UNREADY if written else ABSENT), f"the `{name}` in the notebook comes from {module}: write it yourself."
    return () if makers else (REFUSED, f"nobody can see where `{name}` comes from: write it in a cell.")


def made_in(value: Any) -> Path | None:
    """The file in which a function or class was written, if Python knows it."""
    try:
        return Path(inspect.getfile(inspect.unwrap(value)))
    except (TypeError, OSError, ValueError, AttributeError):
        return None
