"""The learner's file (a stub), cut from the library's source by its syntax tree; and the solution, which is the whole source.

A stub keeps the signature and the docstring. A guided stub also has the comments of the body as numbered steps. No line of
code of the body is kept.
"""

import ast
import importlib
import inspect
import io
import re
import sys
import textwrap
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

from minilm.exercises.spec import Exercise, where

EMPTY = "raise NotImplementedError"
Definition = ast.FunctionDef | ast.ClassDef


def reference(dotted: str) -> Any:
    """The object at a dotted path such as `minilm.layers.attention.attention`."""
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@cache
def source_of(module: str) -> tuple[str, ast.Module]:
    """A module's source and its syntax tree."""
    text = Path(inspect.getfile(importlib.import_module(module))).read_text(encoding="utf-8")
    return text, ast.parse(text)


def definition(dotted: str) -> tuple[str, Definition]:
    """The source of the module that defines `dotted`, and the syntax tree of the definition."""
    module, _, name = dotted.rpartition(".")
    text, tree = source_of(module)
    return text, next(node for node in tree.body if isinstance(node, Definition) and node.name == name)


def stub(exercise: Exercise, guided: bool = True) -> str:
    """The text of the file that the learner starts from."""
    parts = []
    for dotted in exercise.targets.values():
        text, node = definition(dotted)
        # steps and docstring of the spec belong to its target
        steps = exercise.steps if dotted == exercise.target else ()
        docstring = exercise.docstring if dotted == exercise.target else ""
        guide = steps if guided else None
        if isinstance(node, ast.ClassDef):
            parts.append(cut_class(text.splitlines(), node, exercise.keep, guide, docstring))
        else:
            parts.append(cut_function(text.splitlines(), node, guide, docstring))
    top = head(exercise, checks=any("Raises" in part for part in parts))
    return "\n\n\n".join([top + "\n\n" + imports(exercise), *parts]) + "\n"


def head(exercise: Exercise, checks: bool = False) -> str:
    """The file's docstring, which says what to write. `checks`: whether a function's docstring mentions bad input."""
    ids = f"{', '.join(exercise.formulas)} · " if exercise.formulas else ""
    blocks = [f"Exercise {exercise.number} · {exercise.title}  ({ids}{where(exercise.section)})", "", exercise.task]
    if exercise.given:
        blocks.append(f"Ready to use: {', '.join(dotted.rpartition('.')[2] for dotted in exercise.given)}.")
    if exercise.forbidden:
        blocks.append(f"Write it by hand: do not call a ready-made {' or '.join(exercise.forbidden)}.")
    if checks:
        blocks.append("You need not check for bad input: ignore what the docstring says about Raises.")
    if exercise.minutes:
        blocks.append(f"About {exercise.minutes} minutes, {exercise.difficulty}.")
    blocks += ["", f"minilm exercise check {exercise.name} · minilm exercise hint {exercise.name}"]
    wrapped = "\n".join(textwrap.fill(block, 110) for block in blocks if block or block == "")
    return f'{"r" if chr(92) in wrapped else ""}"""{wrapped}\n"""'


def cut_function(
    lines: list[str],
    node: ast.FunctionDef,
    steps: tuple[str, ...] | None,
    docstring: str,
    margin: str = "",
) -> str:
    """The signature and the docstring as they are, then the steps as numbered comments; None leaves the steps out."""
    first, body = min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.body[0]
    described = ast.get_docstring(node) is not None
    if described and docstring:
        out = lines[first - 1 : body.lineno - 1] + textwrap.indent(
            f'r"""{inspect.cleandoc(docstring)}\n"""', "    "
        ).split("\n")
    else:
        out = lines[first - 1 : body.end_lineno if described else signature_ends(lines, node)]
    if not described and body.lineno == signature_ends(lines, node):  # def f(x): return x
        out[-1] = lines[body.lineno - 1].encode()[: body.col_offset].decode().rstrip()
    if steps is not None:
        after = (described and body.end_lineno) or signature_ends(lines, node)
        for i, step in enumerate(steps or comments(lines, node, after), 1):
            out += textwrap.wrap(
                f"{i}. {step}", 100, initial_indent=f"{margin}    # ", subsequent_indent=f"{margin}    #    "
            )
    return "\n".join([*out, f"{margin}    {EMPTY}"])


def signature_ends(lines: list[str], node: ast.FunctionDef) -> int:
    """The line, counted from 1, with the colon after which the body begins."""
    parts = [part for part in (node.returns, *node.args.args, *node.args.kwonlyargs) if part is not None]
    line = max([node.lineno, *(part.end_lineno or 0 for part in parts)])
    while line < node.body[0].lineno and not lines[line - 1].split("  #")[0].rstrip().endswith(":"):
        line += 1
    return line


def cut_class(
    lines: list[str], node: ast.ClassDef, keep: tuple[str, ...], steps: tuple[str, ...] | None, docstring: str
) -> str:
    """The class with all methods cut except those in `keep`; the steps go into the last method that is cut."""
    out = lines[min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1 : node.lineno]
    cut = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name not in keep]
    for part in node.body:
        if part in cut:
            out += ["", *cut_function(lines, part, steps if part is cut[-1] else None, "", "    ").split("\n")]
        else:
            start = min([part.lineno, *(d.lineno for d in getattr(part, "decorator_list", []))])
            out += ([""] if isinstance(part, ast.FunctionDef) else []) + lines[start - 1 : part.end_lineno]
    return "\n".join(out)


def comments(lines: list[str], node: ast.FunctionDef, after: int) -> list[str]:
    """The comments of a body, in order; a comment beside an assignment starts with the assigned name."""
    assigned = {
        part.lineno: ", ".join(ast.unparse(target).strip("()") for target in part.targets)
        for part in ast.walk(node)
        if isinstance(part, ast.Assign) and all(isinstance(t, ast.Name | ast.Tuple) for t in part.targets)
    }
    found: list[str] = []
    last = -1  # the line of the previous comment, if that had a line of its own
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
        line = token.start[0]
        if token.type != tokenize.COMMENT or not after < line <= (node.end_lineno or line):
            continue
        text = token.string.lstrip("# ").strip()
        if re.match(r"(noqa|type:|fmt:)", text):
            continue
        alone = not lines[line - 1][: token.start[1]].strip()
        if alone and found and last == line - 1:
            found[-1] += f" {text}"
        else:
            found.append(f"{assigned[line]}: {text}" if not alone and line in assigned else text)
        last = line if alone else -1
    return found


def imports(exercise: Exercise) -> str:
    """Imports for the signatures, for the external libraries that the bodies use, and for what is given."""
    lines: set[str] = set()
    for dotted in exercise.targets.values():
        module = dotted.rpartition(".")[0]
        _, node = definition(dotted)
        parts = [part for part in ast.walk(node) if isinstance(part, ast.FunctionDef)]
        kept: list[ast.AST] = [part for part in parts if part.name in exercise.keep]
        kept += node.bases + node.decorator_list if isinstance(node, ast.ClassDef) else []
        heads = [x for part in parts for x in (part.args, part.returns, *part.decorator_list) if x is not None]
        head_names = {n.id for part in [*heads, *kept] for n in ast.walk(part) if isinstance(n, ast.Name)}
        all_names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        for statement in source_of(module)[1].body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                ours = isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("minilm")
                wanted = head_names if ours else all_names | {"np"}
                names = [n for n in statement.names if (n.asname or n.name.split(".")[0]) in wanted]
                if names and isinstance(statement, ast.ImportFrom):
                    lines.add(ast.unparse(ast.ImportFrom(statement.module, names, 0)))
                lines |= {ast.unparse(ast.Import([n])) for n in names if isinstance(statement, ast.Import)}
            else:
                needed = defined(statement) & (head_names - set(exercise.targets))
                lines |= {f"from {module} import {name}" for name in needed}
    lines |= {"from {} import {}".format(*dotted.rpartition(".")[::2]) for dotted in exercise.given}
    lines |= {"import torch"} if any("torch" in line for line in lines) else set()
    return grouped(lines)


def grouped(lines: set[str]) -> str:
    """The imports in three groups: Python's own modules, other packages, this library."""
    standard = {line for line in lines if line.split()[1].split(".")[0] in sys.stdlib_module_names}
    ours = {line for line in lines if line.startswith("from minilm")}
    parts = [merged(part) for part in (standard, lines - standard - ours, ours)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def merged(lines: set[str]) -> list[str]:
    """The imports in order, with those from the same module on one line."""
    names: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("from "):
            module, _, name = line.removeprefix("from ").partition(" import ")
            names.setdefault(module, set()).update(name.split(", "))
    plain = sorted(line for line in lines if not line.startswith("from "))
    return plain + [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]


def defined(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module defines."""
    if isinstance(statement, Definition):
        return {statement.name}
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    parts = [part for target in targets if target is not None for part in ast.walk(target)]
    return {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def parts(exercise: Exercise) -> list[str]:
    """Dotted paths of all targets, and of the helpers in the same files that they call, except checks of input."""
    wanted = list(exercise.targets.values())
    for dotted in wanted:
        module = dotted.rpartition(".")[0]
        calls = {n.id for n in ast.walk(definition(dotted)[1]) if isinstance(n, ast.Name)}
        helpers = [n.name for n in source_of(module)[1].body if isinstance(n, Definition) and n.name in calls]
        helpers = [f"{module}.{name}" for name in helpers if "check" not in name]
        wanted += [helper for helper in helpers if helper not in {*wanted, *exercise.given}]  # grows during the loop
    return wanted


def solution(exercise: Exercise) -> str:
    """The library's own source of all `parts`, each with its file and line."""
    shown = []
    for dotted in parts(exercise):
        text, node = definition(dotted)
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        file = dotted.rpartition(".")[0].replace(".", "/") + ".py"
        shown.append(f"# {file}, line {first}\n" + "\n".join(text.splitlines()[first - 1 : node.end_lineno]))
    return "\n\n\n".join(shown)
