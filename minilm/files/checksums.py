"""Checksums beside the files of a folder, so that damage is noticed before a number is computed from them.

    checksums.json    {"files": {"model.safetensors": its SHA-256, …}, "seal": the SHA-256 of what stands under "files"}

A folder is opened (`unseal`) before its files are replaced and sealed again (`seal`) after the last one. A folder without the
file, such as one of another program, is not checked: nobody knows what was in it.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from minilm.errors import InputError
from minilm.files.atomic import write_json
from minilm.files.packages import sha256
from minilm.files.tensors import read_json

FILE = "checksums.json"


def seal(folder: Path, names: Iterable[str]) -> str:
    """Write the checksums of these files, as they are now. Returns the seal, which stands for all of them."""
    files = {name: sha256(folder / name) for name in sorted(names)}
    write_json(folder / FILE, {"files": files, "seal": seal_of(files)})
    return seal_of(files)


def unseal(folder: Path) -> list[str]:
    """Say that the files of a folder are about to change: an interrupted change must not look like damage.

    Returns the names of the files that were sealed; none, if their list cannot be read.
    """
    try:
        names = list(sealed_in(folder))
    except (OSError, InputError):
        names = []
    (folder / FILE).unlink(missing_ok=True)
    return names


def seal_of(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def sealed_in(folder: Path) -> dict[str, str]:
    """The names and the checksums in a sealed folder. Raises InputError if their list is damaged."""
    path = folder / FILE
    try:
        entries = read_json(path)
        files = {str(name): str(checksum) for name, checksum in dict(entries.get("files", {})).items()}
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
            raise ValueError("a name outside the folder")
    except (InputError, TypeError, ValueError):
        raise InputError(f"{path} is damaged: it holds no checksums.") from None
    if entries.get("seal") != seal_of(files):
        raise InputError(f"{path} is damaged: its own checksum differs.")
    return files


def check(folder: Path, advice: str = f"If you changed it yourself, delete {FILE}.") -> str | None:
    """Compare a sealed folder with its checksums; returns its seal, or None if it has none.

    Raises InputError, which names the file and ends with `advice`, for one that is missing or not as it was written.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        files = sealed_in(folder)
    except InputError as error:
        raise InputError(f"{error} {advice}") from None
    for name, checksum in files.items():
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing: {FILE} lists it. {advice}")
        if sha256(folder / name) != checksum:
            raise InputError(f"{folder / name} is damaged: it is not as it was written ({FILE} says so). {advice}")
    return seal_of(files)
