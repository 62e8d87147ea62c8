"""Read what learners hand in: folders, archives, single .py files and notebooks. Nothing is unpacked to disk or run.

Each folder or file in the folder of the class belongs to one learner, and its name is the learner's name. An archive in a
learner's folder counts as part of it. Links are not followed, because they could lead to somebody else's work. What is not
read is kept by name, with the reason, so that nothing disappears in silence.
"""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import Any

from minilm.errors import InputError

LARGEST = {".py": 2 << 20, ".ipynb": 32 << 20}  # bytes of one file; a notebook also contains pictures
MOST, TOGETHER = 500, 64 << 20  # the most files of one learner, and the most bytes of all of them
PACKED = 256 << 20  # the most bytes of an archive inside another one
UNPACKED, MEMBERS = (
    2 << 30,
    20_000,
)  # the most bytes and files in a tar, all of which have to be unpacked to find the next
LISTED = 300  # files of one learner that are listed by name
DEEPEST = 3  # archives inside archives
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CLOSED = (".rar", ".7z", ".gz", ".bz2", ".xz", ".zst", ".tar.zst", ".lz", ".z")
BY_SYSTEMS = {"__MACOSX", "__pycache__", ".ipynb_checkpoints", "node_modules", "site-packages", ".git", "Thumbs.db"}
MISNAMED = (".py.txt", ".ipynb.txt", ".ipynb.json")  # as browsers and mail programs save them


@dataclass
class Submission:
    """One learner's files, path → bytes, and those that were left unread, path → reason. `trouble`: nothing can be read."""

    learner: str
    files: dict[str, bytes] = field(default_factory=dict)
    trouble: str = ""
    left: dict[str, str] = field(default_factory=dict)

    def leave(self, path: str, reason: str) -> None:
        """Note a file that is not read, the first few hundred by name."""
        if len(self.left) < LISTED:
            self.left[path] = reason
        else:
            self.left["…"] = "more files than are listed here"

    def unopened(self) -> str:
        """A sentence about archives and texts that may hold the work but are not opened here; "" if there are none."""
        names = [path for path in self.left if ending(path) in CLOSED or ending(path) in MISNAMED]
        return "; ".join(f"{name}: {self.left[name]}" for name in names[:3])

    def room(self) -> int:
        return TOGETHER - sum(len(content) for content in self.files.values())

    def add(self, path: str, file: BufferedIOBase) -> None:
        """Read a file, at most one byte more than is allowed, which later shows that it is too large."""
        while path in self.files:  # the same path in a folder and in its zip
            path = f"{PurePosixPath(path).parent}/again/{PurePosixPath(path).name}"
        if len(self.files) >= MOST or self.room() <= 0:
            return self.leave(path, f"one learner may hand in {MOST} files of {TOGETHER >> 20} MB together")
        self.files[path] = content = file.read(min(LARGEST[suffix(path)] + 1, self.room()))
        if not content:
            del self.files[path]
            self.leave(path, "it is empty")


def read_class(folder: Path) -> list[Submission]:
    """All submissions in a folder, sorted by name. Raises InputError."""
    return read_all(folder)[0]


def read_all(folder: Path) -> tuple[list[Submission], dict[str, str]]:
    """All submissions, and the files in the folder that belong to nobody, with the reason. Raises InputError."""
    if not folder.exists():
        raise InputError(f"there is no folder {folder}: give the folder with the submissions.")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: give the folder with the submissions, one file or folder per learner.")
    found: list[Submission] = []
    nobodys: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        kind = ending(path.name)
        if reason := passed_over(path.name):
            nobodys[path.name] = reason
        elif path.is_dir():
            found.append(read_folder(path))
        elif kind in (*LARGEST, *CLOSED, *MISNAMED) or is_archive(path.name):
            plain = path.name[: -len(kind)]
            found.append(Submission(plain.removesuffix(".py") if kind in CLOSED else plain))
            read_into(found[-1], path.name, path)
        else:
            nobodys[path.name] = unread(path.name)
    if not found:
        raise InputError(f"nothing to grade in {folder}: put a folder, .zip, .py or .ipynb for each learner there.")
    return with_unique_names(found), nobodys


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


def ending(path: str) -> str:
    """The suffix, or both suffixes where only the two together say what a file is: .tar.gz, .py.txt."""
    both = "".join(PurePosixPath(path).suffixes[-2:]).lower()
    return both if both in (*TARS, *CLOSED, *MISNAMED) else suffix(path)


def is_archive(path: str) -> bool:
    return ending(path) == ".zip" or ending(path) in TARS


def passed_over(path: str) -> str:
    """Why a path is not looked at: programs made it, not the learner."""
    for part in PurePosixPath(path).parts:
        if part in BY_SYSTEMS:
            return f"{part} is made by programs"
        if part.startswith((".", "~")):
            return "hidden files are not read"
    return ""


def unread(path: str) -> str:
    """Why a file cannot be graded, and what to ask for."""
    kind = ending(path)
    if kind in CLOSED:
        return f"{kind} archives are not opened: ask for a .zip"
    if kind in MISNAMED:
        return f"rename it to end in {kind.rpartition('.')[0]}"
    return "only .py, .ipynb, .zip and .tar files are read"


def read_folder(folder: Path) -> Submission:
    submission = Submission(folder.name)
    for path in sorted(folder.rglob("*"), key=lambda path: (is_archive(path.name), path)):  # archives come last
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            submission.leave(name, "links are not followed")
        elif not path.is_dir():
            read_into(submission, name, path)
    return submission


def read_into(submission: Submission, name: str, path: Path) -> None:
    """Read a script, a notebook, or an archive of them; anything else is noted by name."""
    if reason := passed_over(name):
        return submission.leave(name, reason)
    if ending(name) not in LARGEST and not is_archive(name):
        return submission.leave(name, unread(name))
    if path.is_symlink() or not path.is_file():
        return submission.leave(name, "it is not an ordinary file")
    try:
        with path.open("rb") as file:
            if is_archive(name):
                read_archive(submission, name, file)
            else:
                submission.add(name, file)
    except Exception as error:  # no permission; or an archive that is damaged, encrypted or of an unknown kind
        what = "unpacked" if is_archive(name) else "opened"
        submission.trouble = f"{path.name} cannot be {what}: {getattr(error, 'strerror', None) or error}"
        submission.leave(name, submission.trouble)


def read_archive(submission: Submission, name: str, packed: BufferedIOBase, depth: int = 1) -> None:
    """Read files from a zip or tar without unpacking it: its paths are never used on disk, and the sizes are limited."""
    opened = members_of_zip(packed) if ending(name) == ".zip" else members_of_tar(packed)
    for path, file in opened:
        if reason := passed_over(path):
            submission.leave(f"{name}: {path}", reason)
        elif is_archive(path):
            if depth == DEEPEST:
                submission.leave(f"{name}: {path}", f"more than {DEEPEST} archives inside one another are not opened")
                continue
            try:
                read_archive(submission, path, io.BytesIO(file.read(PACKED)), depth + 1)
            except Exception as error:  # one that is damaged does not keep the others from being read
                submission.leave(f"{name}: {path}", f"it cannot be unpacked: {error}")
        elif ending(path) in LARGEST:
            submission.add(path, file)
        else:
            submission.leave(f"{name}: {path}", unread(path))


def members_of_zip(packed: BufferedIOBase) -> Iterator[tuple[str, BufferedIOBase]]:
    with zipfile.ZipFile(packed) as parts:
        stream: Any = parts.open  # always yields bytes
        for part in sorted(parts.infolist(), key=lambda part: part.filename):
            if not part.is_dir():
                with stream(part) as file:
                    yield part.filename, file


def members_of_tar(packed: BufferedIOBase) -> Iterator[tuple[str, BufferedIOBase]]:
    unpack: Any = tarfile.open  # of any compression
    with unpack(fileobj=packed, mode="r:*") as parts:
        size = 0
        for i, part in enumerate(parts):  # in the order of the archive: sorting would mean unpacking it twice
            size += part.size
            if size > UNPACKED or i > MEMBERS:
                raise ValueError(f"it holds more than {MEMBERS} files, or more than {UNPACKED >> 30} GB")
            if part.isfile() and (file := parts.extractfile(part)):
                with file:
                    yield part.name, file
