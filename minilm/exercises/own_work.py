"""Whether a submission is the learner's own: what it imports and calls, read from its syntax tree before a line of it runs.

Grading needs the library in the learner's process, so the right answer lies near. Two things keep it out of reach: this
reading, and `guard.py`, which watches what the code really does. Neither makes Python a prison; together they refuse
every short way, and say which line it was.
"""

import ast

from minilm.exercises.spec import Exercise
from minilm.exercises.stub import stub

FOREIGN, REFUSED = "not their own work", "refused"  # the two verdicts

# modules that look at other people's code, or bring it in under another name
LOOKING = {"inspect", "importlib", "pkgutil", "runpy", "linecache", "dis", "gc", "zipimport", "imp"}
# modules that leave the process, or the interpreter
LEAVING = {"ctypes", "subprocess", "multiprocessing", "pty", "cffi", "concurrent", "signal", "builtins", "pdb", "bdb"}
# the same under other roofs (dataclasses.inspect, torch.multiprocessing), files read past Python, a group of its own
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
FETCHERS = {"attrgetter", "methodcaller"}  # what they fetch cannot be read here
LOOKING_NAMES = {
    *("f_back", "f_globals", "f_locals", "f_builtins", "f_code", "tb_frame", "gi_frame", "cr_frame", "ag_frame"),
    *("__globals__", "__closure__", "__code__", "__subclasses__", "__builtins__", "__loader__", "__spec__", "__mro__"),
    *("__import__", "__getattribute__", "__wrapped__", "__func__", "_getframe", "_current_frames", "__dict__"),
    *("__self__", "settrace", "setprofile"),
}
# builtins: what they run is not to be read
COMPUTED = {"exec", "eval", "compile", "globals", "locals", "vars", "breakpoint", *FETCHERS}


def gives(exercise: Exercise) -> dict[str, set[str]]:
    """What of the library the stub imports: module → names."""
    given: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(stub(exercise))):
        if isinstance(node, ast.ImportFrom) and ours(node.module or ""):
            given.setdefault(node.module, set()).update(alias.name for alias in node.names)
    given.setdefault("minilm.errors", set()).add("InputError")
    return given


def ours(module: str) -> bool:
    return module.split(".")[0] == "minilm"


def objection(exercise: Exercise, tree: ast.Module) -> tuple[str, str] | None:
    """(verdict, sentence) for the first line that is not the learner's own or cannot be read; None: all is well."""
    given = gives(exercise)
    found = []
    for node in ast.walk(tree):
        for said in (imported(node, given), named(node), called(node)):
            if said:
                found.append((getattr(node, "lineno", 0), *said))
    if not found:
        return None
    line, verdict, what = min(found)
    return verdict, f"line {line} {what}."


def imported(node: ast.AST, given: dict[str, set[str]]) -> tuple[str, str] | None:
    if isinstance(node, ast.Import):
        pairs = [(alias.name, "") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        pairs = [(node.module or "", alias.name) for alias in node.names]
    else:
        return None
    for module, name in pairs:
        top = module.split(".")[0]
        if ours(module) and name not in given.get(module, ()):
            return FOREIGN, f"imports {'.'.join(part for part in (module, name) if part)}, which the stub does not give"
        if top in LOOKING or name in UNDER_OTHER_ROOFS:
            return FOREIGN, f"imports {top if top in LOOKING else name}, which reads other people's code"
        parts = {*module.split("."), name}
        inner = top.startswith("_") and top != "__future__"
        if top in LEAVING or inner or parts & LEAVING_NAMES or (top, name) in {("os", "fork"), ("os", "system")}:
            whole = ".".join(part for part in (module, name) if part)
            return REFUSED, f"imports {whole}, which an exercise does not need"
        if (top, name) == ("sys", "modules"):
            return FOREIGN, "takes sys.modules, where the library is"
        if name in FETCHERS:
            return REFUSED, f"imports {name}: what it fetches cannot be read here"
        if name in LOOKING_NAMES:
            return FOREIGN, f"imports {name}, which reaches into other people's code"
    return None


def named(node: ast.AST) -> tuple[str, str] | None:
    """Attributes (also as text, for getattr, and in patterns) through which one reaches into the interpreter."""
    if isinstance(node, ast.Attribute):
        names = {node.attr}
        if node.attr in UNDER_OTHER_ROOFS:
            return FOREIGN, f"uses {node.attr}, which reads other people's code"
        if node.attr == "modules" and ast.unparse(node.value).split(".")[-1] == "sys":
            return FOREIGN, "takes sys.modules, where the library is"
        if node.attr in FETCHERS:
            return REFUSED, f"uses {node.attr}: what it fetches cannot be read here"
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


def called(node: ast.AST) -> tuple[str, str] | None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in COMPUTED:
        return REFUSED, f"uses {node.id}: what that runs cannot be read here, so write it out"
    return None
