"""Read what learners hand in: folders, zips, single .py files and notebooks. Nothing is unpacked to disk or run.

Each folder or file in the folder of the class belongs to one learner, and its name is the learner's name. A zip in a
learner's folder counts as part of it. Links are not followed, because they could lead to somebody else's work.
"""

import ast
import json
import zipfile
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import Any

from minilm.errors import InputError
from minilm.exercises.catalogue import Entry, entries, load
from minilm.exercises.spec import Exercise

LARGEST = {".py": 2 << 20, ".ipynb": 32 << 20}  # bytes of one file; a notebook also contains pictures
MOST, TOGETHER = 500, 64 << 20  # the most files of one learner, and the most bytes of all of them
IGNORED = {"__MACOSX", "__pycache__", ".ipynb_checkpoints", "node_modules", "site-packages"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass
class Submission:
    """One learner's files, path → bytes. `trouble` says why they could not be read."""

    learner: str
    files: dict[str, bytes] = field(default_factory=dict)
    trouble: str = ""

    def add(self, path: str, file: BufferedIOBase) -> None:
        """Read a file, at most one byte more than is allowed, which later shows that it is too large."""
        room = TOGETHER - sum(len(content) for content in self.files.values())
        if wanted(path) and len(self.files) < MOST and room > 0:
            self.files[path] = file.read(min(LARGEST[suffix(path)] + 1, room))


@dataclass(frozen=True)
class Found:
    """The source that counts for one exercise. `place` is its file; `trouble` says why it cannot be used."""

    source: bytes = b""
    place: str = ""
    trouble: str = ""


def read_class(folder: Path) -> list[Submission]:
    """All submissions in a folder, sorted by name. Raises InputError."""
    if not folder.exists():
        raise InputError(f"there is no folder {folder}: give the folder with the submissions.")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: give the folder with the submissions, one file or folder per learner.")
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "~")) or path.name in IGNORED:
            continue
        if path.is_dir():
            found.append(read_folder(path))
        elif suffix(path.name) in (".zip", *LARGEST):
            found.append(Submission(path.stem))
            read_into(found[-1], path.name, path)
    if not found:
        raise InputError(f"nothing to grade in {folder}: put a folder, .zip, .py or .ipynb for each learner there.")
    return with_unique_names(found)


def with_unique_names(found: list[Submission]) -> list[Submission]:
    """Make the names unique: anna and anna.zip become anna and anna (2). Unprintable characters become "?"."""
    seen: set[str] = set()
    for submission in found:
        plain = "".join(c if c.isprintable() else "?" for c in submission.learner)
        names = (plain, *(f"{plain} ({i})" for i in range(2, len(found) + 2)))
        submission.learner = next(name for name in names if name not in seen)
        seen.add(submission.learner)
    return found


def suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def wanted(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return suffix(path) in LARGEST and not any(p in IGNORED or p.startswith(".") for p in parts)


def read_folder(folder: Path) -> Submission:
    submission = Submission(folder.name)
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            read_into(submission, path.relative_to(folder).as_posix(), path)
    return submission


def read_into(submission: Submission, name: str, path: Path) -> None:
    """Read a script, a notebook, or a zip of them, and nothing else."""
    if suffix(name) not in (".zip", *LARGEST) or not path.is_file():
        return
    try:
        with path.open("rb") as file:
            if suffix(name) == ".zip":
                read_zip(submission, file)
            else:
                submission.add(name, file)
    except Exception as error:  # no permission; or a zip that is damaged, encrypted or of an unknown kind
        what = "unpacked" if suffix(name) == ".zip" else "opened"
        submission.trouble = f"{path.name} cannot be {what}: {getattr(error, 'strerror', None) or error}"


def read_zip(submission: Submission, packed: BufferedIOBase) -> None:
    """Read files from a zip without unpacking it: its paths are never used on disk, and the sizes are limited."""
    with zipfile.ZipFile(packed) as parts:
        stream: Any = parts.open  # always yields bytes
        for part in sorted(parts.infolist(), key=lambda part: part.filename):
            if wanted(part.filename):
                with stream(part) as file:
                    submission.add(part.filename, file)


def source_for(submission: Submission, entry: Entry) -> Found:
    """The learner's code for one exercise: the file with its name, or else a file or notebook that defines its functions.

    Of several, the one nearest to the top folder counts; a stub counts only if there is nothing else.
    """
    if submission.trouble and not submission.files:
        return Found(trouble=submission.trouble)
    exercise = load(entry.name)
    scripts = {path: content for path, content in submission.files.items() if path.lower().endswith(".py")}
    ranked = sorted(scripts, key=lambda path: (len(PurePosixPath(path).parts), len(path), path))
    stems = {path: PurePosixPath(path).stem for path in ranked}
    named = [path for path in ranked if stems[path] == entry.stem]
    named += [path for path in ranked if entry.stem in stems[path] and path not in named]  # such as 12_e01_softmax
    of_none = [path for path in ranked if not any(each.stem in stems[path] for each in entries())]
    whole = [path for path in of_none if defines(scripts[path], exercise)]
    found = [from_script(path, scripts[path]) for path in named + whole]
    full = [one for one in found if one.trouble or not is_stubs(one.source, exercise)]
    if not full:
        notebooks = sorted(set(submission.files) - set(scripts))
        found += [from_notebook(path, submission.files[path], exercise) for path in notebooks]
        full = [one for one in found if one.source and not is_stubs(one.source, exercise)]
    some = [one for one in found if one.source] + [one for one in found if one.trouble]
    return next(iter(full + some), Found(trouble=submission.trouble))


def from_script(path: str, content: bytes) -> Found:
    return Found(content, path) if len(content) <= LARGEST[".py"] else too_large(path)


def too_large(path: str) -> Found:
    return Found(place=path, trouble=f"{path} is larger than {LARGEST[suffix(path)] >> 20} MB")


def defines(content: bytes, exercise: Exercise) -> bool:
    return set(exercise.targets) <= {node.name for node in body_of(content) if isinstance(node, Definition)}


def is_stubs(content: bytes, exercise: Exercise) -> bool:
    """Whether the file contains the functions of the exercise, but only as stubs."""
    asked = [node for node in body_of(content) if getattr(node, "name", "") in exercise.targets]
    return bool(asked) and all(is_stub(node) for node in asked)


def body_of(content: bytes) -> list[ast.stmt]:
    try:
        return ast.parse(content).body
    except UNREADABLE:
        return []


def from_notebook(path: str, content: bytes, exercise: Exercise) -> Found:
    """The exercise's functions and everything that they use; of several definitions, the last one that is not a stub.

    The rest of a notebook (experiments, pictures, magics) does not run.
    """
    if len(content) > LARGEST[".ipynb"]:
        return too_large(path)
    try:
        cells = json.loads(content.decode("utf-8-sig"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (*UNREADABLE, KeyError, TypeError):
        return Found(place=path, trouble=f"{path} cannot be read: it is not a notebook, or not saved as UTF-8")
    body: list[ast.stmt] = []
    broken = ""
    for text in texts:
        try:
            body += ast.parse(without_magics(text)).body
        except UNREADABLE as error:
            if any(f"def {name}" in text or f"class {name}" in text for name in exercise.targets):
                broken = f"Python cannot read the cell that defines it in {path}: {getattr(error, 'msg', error)}"
    names = set(exercise.targets)
    if not names <= {node.name for node in body if isinstance(node, Definition)}:
        return Found(place=path, trouble=broken)
    kept: list[int] = []
    for name in (open_names := sorted(names)):  # grows during the loop
        makers = [i for i, node in enumerate(body) if name in names_defined(node)]
        full = [i for i in makers if not is_stub(body[i])]
        if makers and (best := (full or makers)[-1]) not in kept:
            kept.append(best)
            used = {n.id for n in ast.walk(body[best]) if isinstance(n, ast.Name)}
            open_names += sorted(used - set(open_names))
    imports = [i for i in kept if isinstance(body[i], ast.Import | ast.ImportFrom)]
    order = sorted(imports) + sorted(set(kept) - set(imports))
    return Found("\n\n\n".join(ast.unparse(body[i]) for i in order).encode(), path)


def without_magics(cell: str) -> str:
    """A cell without the lines that only a notebook understands."""
    lines = cell.splitlines()
    if lines and lines[0].startswith("%%") and not lines[0].startswith(("%%exercise", "%%time")):
        return ""  # %%bash or %%html, which are not Python
    return "\n".join("" if line.startswith(("%", "!", "?")) or line.endswith("?") else line for line in lines)


def names_defined(node: ast.stmt) -> set[str]:
    """The names that a statement defines."""
    if isinstance(node, Definition):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return set()


def is_stub(node: ast.stmt) -> bool:
    last = node.body[-1] if isinstance(node, Definition) else None
    return isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last)
