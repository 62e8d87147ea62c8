"""The solution as a file that runs: the library's own code for an exercise, and above it what that needs.

Constants and helpers of the same module are shown: they belong to the answer. What the stub gives is imported as there; so
is what the module itself imports, and the checks of input, which are the library's business.
"""

import ast
import symtable

from minilm.exercises.own_work import gives
from minilm.exercises.spec import Exercise
from minilm.exercises.stub import defined, grouped, head, source_of


def solved(exercise: Exercise) -> str:
    """A learner's file with the library's own code in it."""
    lines, helpers = needs(exercise)
    once = dict.fromkeys(map(excerpt, [*helpers, *exercise.targets.values()]))  # CLS, SEP = 1, 2 are two names
    shown = [f"# {file}, line {line}\n{text}" for file, line, text in once]
    top = "\n\n".join(part for part in (head(exercise), grouped(lines)) if part)
    return "\n\n\n".join([top, *shown]) + "\n"


def needs(exercise: Exercise) -> tuple[set[str], list[str]]:
    """The imports of the targets and of the helpers that they call, and these helpers (dotted), in their module's order."""
    given, lines = gives(exercise), set()
    wanted = list(exercise.targets.values())
    for dotted in wanted:
        module = dotted.rpartition(".")[0]
        for name in names_used(excerpt(dotted)[2]):
            statement = statement_of(module, name)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                lines.add(line_for(statement, name))
            elif statement is None or f"{module}.{name}" in wanted:
                continue  # a builtin; or it is there already
            elif name in given.get(module, ()) or "check" in name:
                lines.add(f"from {module} import {name}")
            else:
                wanted.append(f"{module}.{name}")  # grows while we walk it
    return lines, sorted(wanted[len(exercise.targets) :], key=lambda dotted: excerpt(dotted)[:2])


def excerpt(dotted: str) -> tuple[str, int, str]:
    """The file in which `dotted` is defined, the line where that begins, and its source, with the comment above it."""
    module, _, name = dotted.rpartition(".")
    lines, statement = source_of(module)[0].splitlines(), statement_of(module, name)
    first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return module.replace(".", "/") + ".py", first, "\n".join(lines[first - 1 : statement.end_lineno])


def statement_of(module: str, name: str) -> ast.stmt | None:
    """The statement of a module that gives a name its meaning; None for a builtin."""
    for statement in source_of(module)[1].body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            if name in {alias.asname or alias.name.split(".")[0] for alias in statement.names}:
                return statement
        elif name in defined(statement):
            return statement
    return None


def line_for(statement: ast.Import | ast.ImportFrom, name: str) -> str:
    """The import of that one name."""
    wanted = [alias for alias in statement.names if name == (alias.asname or alias.name.split(".")[0])]
    if isinstance(statement, ast.Import):
        return ast.unparse(ast.Import(wanted))
    return ast.unparse(ast.ImportFrom(statement.module, wanted, 0))


def names_used(text: str) -> set[str]:
    """The names that a definition takes from its module, or from Python: all that are not its own."""
    found, tables = set(), [symtable.symtable(text, "solution", "exec")]
    for table in tables:
        found |= {s.get_name() for s in table.get_symbols() if s.is_global() or table.get_type() == "module"}
        tables += table.get_children()  # grows while we walk it
    return found
