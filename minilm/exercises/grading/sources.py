"""Which of a learner's files counts for an exercise. This is decided from their text; nothing is run."""

import ast
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath, PureWindowsPath

from minilm.exercises.catalogue import Entry, entries, load
from minilm.exercises.grading import cells as notebooks
from minilm.exercises.grading.cells import (
    UNREADABLE,
    NoNotebook,
    all_bound,
    is_stub,
    mentions,
    python_of,
    seems_to_define,
)
from minilm.exercises.grading.submissions import LARGEST, Submission, suffix
from minilm.exercises.learner import declared_encoding
from minilm.exercises.spec import Exercise

WHOLE, PART, STUB, NOTHING = range(4)  # how much of an exercise a file defines, the best first
IN_THE_DARK = re.compile(
    r"import \*|%run\b|\bexec\(|\bglobals\(|\bsetattr\(|\.run_\w+\(|%%(?:writefile|file|capture|time)\b"
)
ENCODED = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class Found:
    """The source that counts for one exercise: a script, or the cells of a notebook as a JSON list. `place` is its file,
    `beside` the scripts in the same folder, which it may import. `trouble` says why it cannot be used, `absent`
    why there is none, and `unopened` names what may hold it but cannot be opened here."""

    source: bytes = b""
    place: str = ""
    trouble: str = ""
    absent: str = ""
    unopened: str = ""
    cells: bool = False
    beside: dict[str, bytes] = field(default_factory=dict)


def source_for(submission: Submission, entry: Entry) -> Found:
    """The learner's code for one exercise: the file with its name, or else a file or notebook that defines its functions.

    Of several, the one nearest to the top folder counts; a stub counts only if there is nothing else.
    """
    if submission.trouble and not submission.files:
        return Found(trouble=submission.trouble)
    exercise = load(entry.name)
    ranked = sorted(submission.files, key=lambda path: (len(PurePosixPath(path).parts), len(path), path))
    scripts = [path for path in ranked if suffix(path) == ".py"]
    stems = {path: PurePosixPath(path).stem for path in scripts}
    named = [path for path in scripts if stems[path] == entry.stem]
    named += [path for path in scripts if entry.stem in stems[path] and path not in named]  # such as 12_e01_softmax
    of_none = [path for path in scripts if not any(each.stem in stems[path] for each in entries())]
    groups = ([*named, *of_none], [path for path in ranked if path not in scripts])
    found: list[tuple[int, Found]] = []
    for paths in groups:
        found += [one for path in paths if (one := candidate(path, submission, exercise, path in named))]
        if any(rank == WHOLE for rank, _ in found):
            break  # notebooks are read only where no script is complete
    if found:
        return min(found, key=lambda one: one[0])[1]
    if submission.trouble or (not submission.files and submission.unopened()):
        return Found(trouble=submission.trouble, unopened=submission.unopened())
    return Found(absent=absent(exercise, [*of_none, *groups[1]], submission))


def absent(exercise: Exercise, read: list[str], submission: Submission) -> str:
    """Why there is nothing to grade: nothing was handed in, or no file that was read defines the functions."""
    names = " and ".join(f"`{name}`" for name in exercise.targets)
    said = f"no {names} in {listed(read)}" if read else "not handed in"
    left = [path for path, reason in submission.left.items() if "programs" not in reason]
    return said + (f" (not read: {listed(left)})" if left else "")


def listed(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def candidate(path: str, submission: Submission, exercise: Exercise, named: bool) -> tuple[int, Found] | None:
    """(rank, source) of one file, or None if it does not define a function of the exercise."""
    content = submission.files[path]
    if len(content) > LARGEST[suffix(path)]:
        return WHOLE, Found(place=path, trouble=f"{path} is larger than {LARGEST[suffix(path)] >> 20} MB")
    folder = PurePosixPath(path).parent
    beside = {
        PurePosixPath(other).name: text
        for other, text in submission.files.items()
        if suffix(other) == ".py" and other != path and PurePosixPath(other).parent == folder and is_one_name(other)
    }
    targets = tuple(exercise.targets)
    try:
        cells = notebooks.cells_of(content) if suffix(path) == ".ipynb" else parts_of(content)
    except NoNotebook as error:
        return PART, Found(place=path, trouble=f"{path} cannot be read: {error}")
    if cells is None:
        rank = rank_of_script(content, targets)
        return (
            (min(rank, PART) if named and rank != STUB else rank, Found(content, path, beside=beside))
            if (named or rank < NOTHING)
            else None
        )
    rank = rank_of_cells(cells, targets)
    if rank == NOTHING and not named:
        reached = any(IN_THE_DARK.search(cell) for cell in cells)  # the scripts beside it may be imported or run
        others = [decoded(text) for text in beside.values()] if reached else []
        if not all(
            any(could_bind(cell, name) for cell in cells) or any(mentions(text, name) for text in others)
            for name in targets
        ):
            return None
    return rank, Found(json.dumps(cells).encode(), path, cells=True, beside=beside)


def is_one_name(path: str) -> bool:
    """Whether the last part of a path from an archive is one name on every system. On Windows, `..\\up.py` is a file outside."""
    name = PurePosixPath(path).name
    return PureWindowsPath(name).name == name and "\0" not in name


def could_bind(cell: str, name: str) -> bool:
    """Whether a cell could bind the name in a way that only running it shows: inside a function, in a text that is run or
    written to a file, or by an import."""
    if not mentions(cell, name):
        return False
    magic = cell.lstrip().startswith("%%")
    tree = python_of(cell)
    if magic or tree is None:
        return magic and IN_THE_DARK.search(cell) is not None
    for node in ast.walk(tree):
        if isinstance(node, notebooks.Definition | ast.alias) and name in (node.name, getattr(node, "asname", None)):
            return True
        if isinstance(node, ast.Global) and name in node.names:
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and name in node.value:
            return bool(IN_THE_DARK.search(cell))
    return False


def parts_of(content: bytes) -> list[str] | None:
    """The cells of a `.py` that is a notebook, or None for an ordinary script. Without IPython, every `.py` is a script."""
    text = decoded(content)
    return notebooks.cells_of_script(text) if text and notebooks.has_ipython() else None


@lru_cache(maxsize=512)
def decoded(content: bytes) -> str:
    """A script's text in the encoding that Python would use, or in UTF-16 if it begins so; "" if it cannot be decoded."""
    for mark, encoding in ENCODED:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode(declared_encoding(content))
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return content.decode("utf-8", errors="replace")


@lru_cache(maxsize=512)
def tree_of(content: bytes) -> ast.Module | None:
    try:
        return ast.parse(decoded(content)) if not content.startswith((b"\xff\xfe", b"\xfe\xff")) else None
    except UNREADABLE:
        return None


def rank_of_script(content: bytes, targets: tuple[str, ...]) -> int:
    tree = tree_of(content)
    if tree is None:
        return PART if any(seems_to_define(decoded(content), name) for name in targets) else NOTHING
    return ranked([bindings(tree)], targets)


def rank_of_cells(cells: list[str], targets: tuple[str, ...]) -> int:
    trees = [python_of(cell) for cell in cells]
    rank = ranked([bindings(tree) for tree in trees if tree], targets)
    broken = any(seems_to_define(cell, name) for cell, tree in zip(cells, trees) if tree is None for name in targets)
    return min(rank, PART) if broken else rank


def ranked(blocks: list[dict[str, ast.AST]], targets: tuple[str, ...]) -> int:
    """How much of the targets is defined by blocks that run one after the other. An import defines nothing."""
    last: dict[str, ast.AST] = {}
    for block in blocks:
        last |= {name: node for name, node in block.items() if not isinstance(node, ast.Import | ast.ImportFrom)}
    makers = [last.get(name) for name in targets]
    if not any(makers):
        return NOTHING
    if all(is_stub(maker) for maker in makers if maker):
        return STUB
    return WHOLE if all(makers) else PART


def bindings(tree: ast.Module) -> dict[str, ast.AST]:
    if not hasattr(tree, "bound"):
        tree.bound = all_bound(tree)  # type: ignore[attr-defined]
    return tree.bound  # type: ignore[attr-defined]
