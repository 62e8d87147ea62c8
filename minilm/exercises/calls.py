"""Which ready-made functions a learner's solution calls: looked for in what is checked and in what that calls, not in the rest.

A file may hold several exercises, trial calls and a comparison with the library. Only the functions of the exercise and
everything in the file that they use, directly or through others, belong to the solution.
"""

import ast
import re
import symtable

from minilm.exercises.spec import Exercise

OWN = re.compile(r"(.*\.)?e\d\d_\w+\.\w+")  # another file of the learner: e01_softmax.softmax


def forbidden_calls(exercise: Exercise, tree: ast.Module) -> list[tuple[int, str]]:
    """(line, name) of each forbidden function: called, used under another name, or the library's own version."""
    parts = solution(tree, set(exercise.targets))
    full, starred = imported(tree, parts)
    written = set(definitions(tree))
    classes = {part.name for part in parts if isinstance(part, ast.ClassDef)}
    classes |= {"self", "cls", *instances(parts, classes)}
    inner = {id(node.value) for part in parts for node in ast.walk(part) if isinstance(node, ast.Attribute)}
    found = set()
    for node in (node for part in parts for node in ast.walk(part)):
        used = node.func if isinstance(node, ast.Call) else node
        if not isinstance(used, ast.Attribute | ast.Name) or id(used) in inner:
            continue
        first, _, rest = dotted(used).partition(".")
        if starred and not rest and first not in full and first not in written and used is not node:
            full[first] = f"{starred[-1]}.{first}"
        called = ".".join(part for part in (full.get(first, first), rest) if part)
        # skip the learner's own functions; what is not called must at least come from a module
        own = is_own(used, classes) and rest.rpartition(".")[2] in methods(parts) or OWN.fullmatch(called)
        if "." in called and not own and (used is not node or first in full):
            banned = any(f".{called}".endswith(f".{end}") for end in exercise.forbidden)
            if banned or called in exercise.targets.values():
                found.add((used.lineno, ast.unparse(used)))
    return sorted(found)


def is_own(used: ast.expr, classes: set[str]) -> bool:
    """Whether `used` is a method of one of these: Norm.f, self.f or Norm(…).f."""
    while isinstance(used, ast.Attribute | ast.Call):
        used = used.value if isinstance(used, ast.Attribute) else used.func
    return isinstance(used, ast.Name) and used.id in classes


def instances(parts: list[ast.stmt], classes: set[str]) -> set[str]:
    """The names that are given to objects of the learner's classes: norm = Norm(…)."""
    given = [node for part in parts for node in ast.walk(part) if isinstance(node, ast.Assign)]
    made = [node for node in given if isinstance(node.value, ast.Call) and is_own(node.value.func, classes)]
    return {target.id for node in made for target in node.targets if isinstance(target, ast.Name)}


def solution(tree: ast.Module, targets: set[str]) -> list[ast.stmt]:
    """The statements of a module that define the targets or anything that these use, directly or through others."""
    known, wanted, parts = definitions(tree), list(targets), {}
    seen = set(wanted)
    for name in wanted:
        for part in known.get(name, ()):
            if id(part) not in parts:
                parts[id(part)] = part
                further = global_names(part) & known.keys() - seen
                seen |= further
                wanted += sorted(further)  # grows during the loop
    return list(parts.values())


def definitions(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """Name → the statements that define it outside of functions: def, class, assignments, also within `if`, `try`, `with`."""
    found: dict[str, list[ast.stmt]] = {}
    for part in top_level(tree.body):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = {part.name}
        elif isinstance(part, ast.Import | ast.ImportFrom):
            continue
        else:
            names = {n.id for n in ast.walk(part) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            # T[k] = … and f.x = … change what T and f are
            names |= {
                n.value.id
                for n in ast.walk(part)
                if isinstance(n, ast.Subscript | ast.Attribute)
                and isinstance(n.ctx, ast.Store)
                and isinstance(n.value, ast.Name)
            }
        for name in names:
            found.setdefault(name, []).append(part)
    return found


def top_level(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements outside of functions and classes, those inside of `if`, `try`, `for`, `while` and `with` one by one."""
    out: list[ast.stmt] = []
    for part in body:
        if isinstance(part, ast.If | ast.Try | ast.For | ast.While | ast.With):
            handlers = [each.body for each in getattr(part, "handlers", [])]
            blocks = [getattr(part, name, []) for name in ("body", "orelse", "finalbody")] + handlers
            out += [each for block in blocks for each in top_level(block)]
            if isinstance(part, ast.For | ast.With):
                out.append(part)  # it may define names itself
        else:
            out.append(part)
    return out


def global_names(part: ast.stmt) -> set[str]:
    """The names of the module that a statement uses, without the local names of its functions."""
    try:
        table = symtable.symtable(ast.unparse(part), "?", "exec")
    except (SyntaxError, RecursionError):  # an `await` outside of a function, or an endless nest
        return {node.id for node in ast.walk(part) if isinstance(node, ast.Name)}
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    tables = list(table.get_children())
    for each in tables:
        names |= {s.get_name() for s in each.get_symbols() if s.is_global() and s.is_referenced()}
        tables += each.get_children()  # grows during the loop
    return names


def imported(tree: ast.Module, parts: list[ast.stmt]) -> tuple[dict[str, str], list[str]]:
    """Name → the full name of what was imported as it, by the module or within `parts`; and the modules of `import *`."""
    full: dict[str, str] = {}
    starred = []
    outside = [part for part in top_level(tree.body) if isinstance(part, ast.Import | ast.ImportFrom)]
    for node in [*outside, *(node for part in parts for node in ast.walk(part))]:
        if isinstance(node, ast.Import):
            full |= {n.asname or n.name.split(".")[0]: n.name if n.asname else n.name.split(".")[0] for n in node.names}
        elif isinstance(node, ast.ImportFrom):
            full |= {n.asname or n.name: f"{node.module or ''}.{n.name}" for n in node.names if n.name != "*"}
            starred += [node.module or "" for n in node.names if n.name == "*"]
    return full, starred


def methods(parts: list[ast.stmt]) -> set[str]:
    """The methods of the learner's own classes."""
    inside = [node for part in parts for node in ast.walk(part) if isinstance(node, ast.ClassDef)]
    return {node.name for each in inside for node in each.body if isinstance(node, ast.FunctionDef)}


def dotted(node: ast.expr) -> str:
    """An expression such as a.b.c as text; what stands in front of the dots and is not a name becomes "?"."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"
