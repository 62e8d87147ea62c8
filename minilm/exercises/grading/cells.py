"""The code cells of a notebook, and what their text says: which names a cell binds, and in which cell a name stands.

A notebook is an `.ipynb` in any of its formats, or a `.py` that an editor divides into cells (`# %%`, `# In[1]:`).
What a cell means is decided by IPython's own input transformer; nothing is run here.
"""

import ast
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec

MARKER = re.compile(r"#\s*(?:%%|In\s*\[[\s\d*]*\]:)")
MARKDOWN = re.compile(r"#\s*%%.*\[(?:markdown|md|raw)\]")
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# cell magics whose body is Python code that runs in the notebook's own namespace
TRANSPARENT = {"capture", "time", "prun", "exercise"}
NEEDED = "grading notebooks needs IPython, which is not installed: pip install ipython"


class NoNotebook(Exception):
    """The file is not a notebook in Python."""


def has_ipython() -> bool:
    return find_spec("IPython") is not None


def cells_of(content: bytes) -> list[str]:
    """The source of each code cell that a run of the whole notebook runs. Raises NoNotebook.

    A cell that is marked as written in another language, or as one to skip, becomes "", so that the numbers stay right.
    """
    try:
        found = json.loads(content.removeprefix(b"\xef\xbb\xbf"))  # UTF-8, UTF-16 or UTF-32
        about = found.get("metadata", {})
        language = about.get("language_info", {}).get("name") or about.get("kernelspec", {}).get("language") or "python"
        sheets = found["worksheets"] if "worksheets" in found else [found]  # nbformat 3 had worksheets
        cells = [cell for sheet in sheets for cell in sheet["cells"] if cell["cell_type"] == "code"]
        sources = [cell.get("source", cell.get("input")) for cell in cells]
        texts = [source if isinstance(source, str) else "".join(source) for source in sources]
    except (*UNREADABLE, KeyError, TypeError, AttributeError):
        raise NoNotebook("it is not a notebook, or it is damaged") from None
    if "python" not in str(language).lower():
        raise NoNotebook(f"it is a notebook in {language}, not in Python")
    return [text if to_run(cell) else "" for cell, text in zip(cells, texts)]


def to_run(cell: dict) -> bool:
    """Whether a code cell is Python and not marked to be skipped."""
    about = cell.get("metadata")
    about = about if isinstance(about, dict) else {}
    editor = about.get("vscode")
    language = cell.get("language") or (editor.get("languageId") if isinstance(editor, dict) else None) or "python"
    tags = about.get("tags")
    return "python" in str(language).lower() and "skip-execution" not in (tags if isinstance(tags, list) else ())


def cells_of_script(text: str) -> list[str] | None:
    """The cells of a `.py` that was exported from a notebook or is divided into cells; None for an ordinary script."""
    lines = text.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if MARKER.match(line)]
    if not starts:
        return [text] if re.search(r"\bget_ipython\(\)\s*\.", text) else None
    ends = [*starts, len(lines)]
    parts = ["".join(lines[: starts[0]])] if "".join(lines[: starts[0]]).strip() else []
    for start, end in zip(ends, ends[1:]):
        body = "".join(lines[start + 1 : end])
        parts.append("" if MARKDOWN.match(lines[start]) else body)
    return parts


@lru_cache(maxsize=4096)
def python_of(cell: str) -> ast.Module | None:
    """The syntax tree of a cell as IPython would run it, or None if Python cannot read it. The body of `%%time` counts,
    the body of `%%bash` does not."""
    magic = re.match(r"\s*%%(\w+)[^\n]*\n", cell)
    if magic:
        return python_of(cell[magic.end() :]) if magic[1] in TRANSPARENT else ast.Module([], [])
    try:
        return ast.parse(transformed(cell))
    except UNREADABLE:
        return None


def transformed(cell: str) -> str:
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(cell)


def names_bound(statement: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The names that a statement of a module binds, at any depth of `if`, `try`, `with`, `for` or `match`, with the node
    that binds each. What is bound inside a function or class belongs to that function or class."""
    if isinstance(statement, Definition):
        yield statement.name, statement
        inner: list[ast.AST] = [*statement.decorator_list]
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            yield alias.asname or alias.name.split(".")[0], statement
        inner = []
    else:
        if isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store):
            yield statement.id, statement
        elif isinstance(statement, ast.MatchAs | ast.MatchStar) and statement.name:
            yield statement.name, statement
        elif isinstance(statement, ast.ExceptHandler) and statement.name:
            yield statement.name, statement
        scoped = isinstance(statement, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)
        inner = [] if scoped else list(ast.iter_child_nodes(statement))
    for node in inner:
        yield from names_bound(node)


def all_bound(tree: ast.Module) -> dict[str, ast.AST]:
    """Name → the last node that binds it."""
    return {name: node for statement in tree.body for name, node in names_bound(statement)}


def mentions(text: str, name: str) -> bool:
    """Whether the name stands in the text as a word of its own that could bind it (`x.name` is something else)."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) is not None


def seems_to_define(text: str, name: str) -> bool:
    """Whether text that Python cannot read looks as if it defined the name."""
    return (
        re.search(rf"(?m)^\s*(?:async\s+)?(?:def|class)\s+{re.escape(name)}\b|^\s*{re.escape(name)}\s*=", text)
        is not None
    )


def is_stub(node: ast.AST | None) -> bool:
    last = node.body[-1] if isinstance(node, Definition) else None
    return isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last)
