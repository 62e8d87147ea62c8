"""What a reader is told to change in a notebook, and the cells that the change makes. Not a test file.

`tests/notebooks/suggestions/NN_name.py` lists, for each sentence of the paragraphs "What to try", the code that a reader
changes: `TRY` is pairs (sentence, edits), and an edit is (old, new), where `old` occurs once in the code of the notebook, or
("after", old, new): a new cell below the cell that contains `old`. `REMARKS` are the sentences that suggest nothing.
"""

import ast
import re
import symtable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from nbformat import NotebookNode
from pages import TOP, program

SUGGESTIONS = TOP / "tests" / "notebooks" / "suggestions"
build = program("build")


def suggested(source: Path) -> ModuleType:
    spec = spec_from_file_location(f"suggestions_{source.stem}", SUGGESTIONS / source.name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def parsed(source: Path, text: str) -> NotebookNode:
    return build.read(source)


def read(source: Path) -> NotebookNode:
    """The notebook as `build.read` gives it, but each text is parsed once, which takes a while: do not change its cells."""
    return parsed(source, source.read_text(encoding="utf-8"))


def code(source: Path) -> list[str]:
    return [cell.source for cell in read(source).cells if cell.cell_type == "code"]


def paragraphs(source: Path) -> list[str]:
    """The paragraphs "What to try", each as one line without these words."""
    text = "\n\n".join(cell.source for cell in read(source).cells if cell.cell_type == "markdown")
    found = re.findall(r"^\*\*What to try\.\*\*(.*?)(?=\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(found) == len(re.findall("what to try", text, re.IGNORECASE)), "a paragraph of another form"
    return [" ".join(paragraph.split()) for paragraph in found]


def sections(source: Path) -> list[list[int]]:
    """The numbers of the code cells under each heading, beginning with those before the first heading."""
    found: list[list[int]] = [[]]
    count = 0
    for cell in read(source).cells:
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
    drawn = end + 1 + len(below) - first
    affected = last_affected(cells, min(touched), end) + 1 + len(below) - first
    return {"first": first, "cells": left, "drawn": drawn, "affected": affected}


def global_reads(node: ast.AST) -> set[str]:
    """The names of the notebook that a function, or an expression with variables of its own, reads."""

    def reads(table: symtable.SymbolTable) -> set[str]:
        own = {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
        return own.union(*(reads(child) for child in table.get_children()))

    table = symtable.symtable(ast.unparse(node), "a cell", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_referenced()} | reads(table)


class Names(ast.NodeVisitor):
    """What a cell reads from cells above it, what it defines or changes, and what each of its functions reads."""

    def __init__(self, cell: str):
        self.reads, self.writes, self.functions = set(), set(), {}
        self.visit(ast.parse(cell))

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            self.reads |= {node.id} - self.writes
        else:
            self.writes.add(node.id)

    def visit_alias(self, node):
        self.writes.add((node.asname or node.name).split(".")[0])

    def visit_Assign(self, node):
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            if isinstance(target, ast.Attribute | ast.Subscript):  # a.b = … and a[0] = … change a
                self.writes |= {n.id for n in ast.walk(target.value) if isinstance(n, ast.Name)}
            elif isinstance(target, ast.Name) and isinstance(node.value, ast.Lambda):
                self.functions[target.id] = global_reads(node.value)

    def visit_For(self, node):
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def visit_AugAssign(self, node):
        self.visit(node.value)
        changed_names = {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
        self.reads |= changed_names - self.writes
        self.writes |= changed_names

    def visit_FunctionDef(self, node):
        self.functions[node.name] = global_reads(node)
        self.writes.add(node.name)

    def inner(self, node):
        self.reads |= global_reads(node) - self.writes

    visit_ClassDef = visit_FunctionDef
    visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = inner


names = cache(Names)  # of a cell; they are not changed


def last_affected(cells: list[str], first: int, end: int) -> int:
    """The last cell that reads, directly or through a function, what the cells from `first` to `end` define or change."""
    found = [names(cell) for cell in cells]
    functions = {name: reads for cell in found for name, reads in cell.functions.items()}
    changed_names, last = set().union(*(cell.writes for cell in found[first : end + 1])), end
    for number in range(end + 1, len(cells)):
        reads, todo = set(), set(found[number].reads)
        while todo:
            reads |= todo
            todo = set().union(*(functions.get(name, set()) for name in todo)) - reads
        if reads & changed_names:
            last = number
            changed_names |= found[number].writes
        else:
            changed_names -= found[number].writes
    return last
