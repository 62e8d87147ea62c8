"""Is a submission the learner's own work? Its imports and calls are read from its syntax tree before any of it runs.

Grading needs the library in the learner's process, so the right answer is close at hand. Two things keep it out of reach:
this reading, and `guard.py`, which watches what the code does. Python cannot be made a prison, but together they refuse
every easy way to the answer and name the line.
"""

import ast
from pathlib import Path

from minilm.exercises.grading.solutions import granted, ours
from minilm.exercises.learner import read
from minilm.exercises.spec import Exercise

FOREIGN, REFUSED = "not their own work", "refused"  # the two verdicts
UNREADY, ABSENT = "unready", "absent"  # what a child may say besides

# modules that read other people's code, or import it under another name
LOOKING = {"inspect", "importlib", "pkgutil", "runpy", "linecache", "dis", "gc", "zipimport", "imp"}
# modules that start processes, or reach outside the interpreter
LEAVING = {"ctypes", "subprocess", "multiprocessing", "pty", "cffi", "concurrent", "signal", "builtins", "pdb", "bdb"}
# the same inside other modules (dataclasses.inspect, torch.multiprocessing), other ways to read files, process groups
UNDER_OTHER_ROOFS = {"inspect", "importlib", "linecache", "pkgutil", "runpy", "gc"}
LEAVING_NAMES = {
    *(
        "ctypes",
        "ctypeslib",
        "subprocess",
        "multiprocessing",
        "cpp_extension",
        "from_file",
        "UntypedStorage",
        "pdb",
        "bdb",
    ),
    *("setsid", "setpgid", "setpgrp"),
}
FETCHERS = {"attrgetter", "methodcaller"}  # the source does not show which attribute they fetch
LOOKING_NAMES = {
    *("f_back", "f_globals", "f_locals", "f_builtins", "f_code", "tb_frame", "gi_frame", "cr_frame", "ag_frame"),
    *("__globals__", "__closure__", "__code__", "__subclasses__", "__builtins__", "__loader__", "__spec__", "__mro__"),
    *("__import__", "__getattribute__", "__wrapped__", "__func__", "_getframe", "_current_frames", "__dict__"),
    *("__self__", "settrace", "setprofile"),
}
# builtins: the source does not show what they run
COMPUTED = {"exec", "eval", "compile", "globals", "locals", "vars", "breakpoint", *FETCHERS}


def violation_in(path: Path, exercise: Exercise) -> tuple[str, str] | None:
    """What is not the learner's own work in a script, and in the files beside it that it imports. Raises Unready."""
    wanted = [path]
    for file in wanted:  # grows during the loop
        try:
            tree = ast.parse(read(file))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # learner.load will report it
        if said := first_violation(exercise, tree):
            return said if file == path else (said[0], f"{file.name}, {said[1]}")
        wanted += [beside for beside in imported_beside(tree, path.parent) if beside not in wanted]
    return None


def imported_beside(tree: ast.AST, home: Path) -> list[Path]:
    """The files in the folder that are imported."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    files = [home / f"{name.split('.')[0]}.py" for name in sorted(names)]
    return [file for file in files if file.is_file()]


def first_violation(exercise: Exercise, tree: ast.Module) -> tuple[str, str] | None:
    """(verdict, sentence) for the first line that is not the learner's own work or not allowed; None if there is none."""
    given = granted(exercise)
    found = []
    for node in ast.walk(tree):
        for said in (import_violation(node, given), name_violation(node), call_violation(node)):
            if said:
                found.append((getattr(node, "lineno", 0), *said))
    if not found:
        return None
    line, verdict, what = min(found)
    return verdict, f"line {line} {what}."


def import_violation(node: ast.AST, given: dict[str, set[str]]) -> tuple[str, str] | None:
    if isinstance(node, ast.Import):
        pairs = [(alias.name, "") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        pairs = [(node.module or "", alias.name) for alias in node.names]
    else:
        return None
    for module, name in pairs:
        top, whole = module.split(".")[0], ".".join(part for part in (module, name) if part)
        if ours(module) and name not in given.get(module, ()):
            return FOREIGN, f"imports {whole}, which the stub does not import"
        if top in LOOKING or name in UNDER_OTHER_ROOFS:
            return FOREIGN, f"imports {top if top in LOOKING else name}, which reads other people's code"
        parts = {*module.split("."), name}
        inner = top.startswith("_") and top != "__future__"
        if top in LEAVING or inner or parts & LEAVING_NAMES or (top, name) in {("os", "fork"), ("os", "system")}:
            return REFUSED, f"imports {whole}, which an exercise does not need"
        if (top, name) == ("sys", "modules"):
            return FOREIGN, "uses sys.modules, which holds the library"
        if name in FETCHERS:
            return REFUSED, f"imports {name}, and nobody can see beforehand what it fetches"
        if name in LOOKING_NAMES:
            return FOREIGN, f"imports {name}, which reaches into other people's code"
    return None


def name_violation(node: ast.AST) -> tuple[str, str] | None:
    """Attributes that give access to the interpreter's inside: used directly, as text for getattr, or in a pattern."""
    if isinstance(node, ast.Attribute):
        names = {node.attr}
        if node.attr in UNDER_OTHER_ROOFS:
            return FOREIGN, f"uses {node.attr}, which reads other people's code"
        if node.attr == "modules" and ast.unparse(node.value).split(".")[-1] == "sys":
            return FOREIGN, "uses sys.modules, which holds the library"
        if node.attr in FETCHERS:
            return REFUSED, f"uses {node.attr}, and nobody can see beforehand what it fetches"
        if node.attr in LEAVING_NAMES:
            return REFUSED, f"uses {node.attr}, which an exercise does not need"
    elif isinstance(node, ast.Name):
        names = {node.id}
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        names = {node.value}
    elif isinstance(node, ast.MatchClass):
        names = set(node.kwd_attrs)
    else:
        return None
    found = sorted(names & LOOKING_NAMES)
    return (FOREIGN, f"uses {found[0]}, which reaches into other people's code") if found else None


def call_violation(node: ast.AST) -> tuple[str, str] | None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in COMPUTED:
        return REFUSED, f"uses {node.id}, and nobody can see beforehand what that runs: write the code out"
    return None
