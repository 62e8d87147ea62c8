"""The solution as a file that runs: the library's own code for an exercise, below everything that it needs.

Constants and helpers from the same module are part of the answer, so they are copied. Imported are: what the stub imports,
what the module itself imports, and the checks of bad input, which are not part of the exercise.
"""

import ast
import symtable
from functools import lru_cache

from minilm.exercises.spec import Exercise
from minilm.exercises.stub import defined, grouped, head, source_of, stub


def ours(module: str) -> bool:
    return module.split(".")[0] == "minilm"


def imported_by_stub(exercise: Exercise) -> dict[str, set[str]]:
    """What the stub imports from the library: module → names."""
    return imported(stub(exercise))


def imported(source: str) -> dict[str, set[str]]:
    given: dict[str, set[str]] = {"minilm.errors": {"InputError"}}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and ours(node.module):
            given.setdefault(node.module, set()).update(alias.name for alias in node.names)
    return given


@lru_cache(maxsize=128)
def granted(exercise: Exercise) -> dict[str, set[str]]:
    """What a submission may import from the library: what the stub imports and what the solution imports, its checks of bad
    input for instance. Neither is a part of the answer. Module → names."""
    given = imported_by_stub(exercise)
    for module, names in imported("\n".join(imports_and_helpers(exercise)[0])).items():
        given[module] = given.get(module, set()) | names
    return {module: names - set(exercise.targets) for module, names in given.items()}


def solution_file(exercise: Exercise) -> str:
    """A learner's file with the library's own code in it."""
    lines, helpers = imports_and_helpers(exercise)
    once = dict.fromkeys(map(excerpt, [*helpers, *exercise.targets.values()]))  # CLS, SEP = 1, 2 are two names
    shown = [f"# {file}, line {line}\n{text}" for file, line, text in once]
    top = "\n\n".join(part for part in (head(exercise), grouped(lines)) if part)
    return "\n\n\n".join([top, *shown]) + "\n"


def imports_and_helpers(exercise: Exercise) -> tuple[set[str], list[str]]:
    """The imports that the targets and their helpers need, and the helpers' dotted paths, in the order of their module."""
    given, lines = imported_by_stub(exercise), set()
    wanted = list(exercise.targets.values())
    for dotted in wanted:
        module = dotted.rpartition(".")[0]
        for name in names_used(excerpt(dotted)[2]):
            statement = statement_of(module, name)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                lines.add(line_for(statement, name))
            elif statement is None or f"{module}.{name}" in wanted:
                continue  # a builtin, or already in the file
            elif name in given.get(module, ()) or "check" in name:
                lines.add(f"from {module} import {name}")
            else:
                wanted.append(f"{module}.{name}")  # grows during the loop
    return lines, sorted(wanted[len(exercise.targets) :], key=lambda dotted: excerpt(dotted)[:2])


def excerpt(dotted: str) -> tuple[str, int, str]:
    """The file that defines `dotted`, the line where the definition begins, and its source with the comment above it."""
    module, _, name = dotted.rpartition(".")
    lines, statement = source_of(module)[0].splitlines(), statement_of(module, name)
    assert statement is not None, dotted
    first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return module.replace(".", "/") + ".py", first, "\n".join(lines[first - 1 : statement.end_lineno])


def statement_of(module: str, name: str) -> ast.stmt | None:
    """The statement of a module that defines a name; None for a builtin."""
    for statement in source_of(module)[1].body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            if name in {alias.asname or alias.name.split(".")[0] for alias in statement.names}:
                return statement
        elif name in defined(statement):
            return statement
    return None


def line_for(statement: ast.Import | ast.ImportFrom, name: str) -> str:
    """The import of this one name."""
    wanted = [alias for alias in statement.names if name == (alias.asname or alias.name.split(".")[0])]
    if isinstance(statement, ast.Import):
        return ast.unparse(ast.Import(wanted))
    return ast.unparse(ast.ImportFrom(statement.module, wanted, 0))


def names_used(text: str) -> set[str]:
    """All names that a definition takes from its module or from Python, which are those that it does not define."""
    found, tables = set(), [symtable.symtable(text, "solution", "exec")]
    for table in tables:
        found |= {s.get_name() for s in table.get_symbols() if s.is_global() or table.get_type() == "module"}
        tables += table.get_children()  # grows during the loop
    return found
