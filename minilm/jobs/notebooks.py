"""Copy the notebooks to a folder where the learner may change them, and open Jupyter there.

The checksum of every copy is stored: a copy that was not changed is brought up to date, and one that the learner has
written in is left alone.
"""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minilm.errors import InputError

BESIDE = Path(__file__).resolve().parents[2]  # the folder that holds the package: a checkout, or site-packages
INDEX = "INDEX.md"
COPIED = ".copied.json"  # name → checksum of the copy that was made last
SERVERS = ("jupyterlab", "notebook")


@dataclass(frozen=True)
class NotebooksOptions:
    """Copy the notebooks into a folder of your own and open them in Jupyter."""

    to: Path = Path("minilm-notebooks")
    """The folder for the copies; it is created if it does not exist."""
    open: bool = True
    """Open Jupyter in that folder. Press Ctrl-C to end it."""
    force: bool = False
    """Overwrite even the notebooks that you have changed."""


@dataclass(frozen=True)
class Copied:
    """The names of the files, by what was done with them."""

    new: tuple[str, ...]
    refreshed: tuple[str, ...]
    same: tuple[str, ...]
    kept: tuple[str, ...]  # because the learner changed them


def notebooks(options: NotebooksOptions = NotebooksOptions(), say: Callable[[str], None] = print) -> Copied:  # noqa: B008
    """Copy the notebooks, say what was done, and open Jupyter. Raises InputError if there are no notebooks or no Jupyter."""
    done = copy(source_folder(), options.to, options.force)
    parts = {"new": done.new, "brought up to date": done.refreshed, "unchanged": done.same}
    counts = ", ".join(f"{len(names)} {what}" for what, names in parts.items() if names)
    say(f"{options.to}: {counts or 'nothing to do'}.")
    if done.kept:
        say(f"Left alone, because you changed them: {', '.join(done.kept)} (--force overwrites them).")
    if options.open:
        open_jupyter(options.to, say)
    else:
        say(f"Begin with {INDEX} or the first notebook. To open them:  {command(options.to)}")
    return done


def source_folder() -> Path:
    """Where the notebooks are: beside the package in a checkout, otherwise where the wheel put them.

    Raises InputError if they are in neither place.
    """
    prefixes = [BESIDE, *(Path(sysconfig.get_path("data", scheme)) for scheme in schemes())]
    for folder in [BESIDE / "notebooks", *(prefix / "share" / "minilm" / "notebooks" for prefix in prefixes)]:
        if (folder / INDEX).is_file() and any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder
    raise InputError("this installation of minilm came without its notebooks: install it again from its source.")


def schemes() -> list[str]:
    """The ways in which pip may have installed minilm: for everybody or in this environment, or for this user alone."""
    return [sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")]


def copy(source: Path, to: Path, force: bool = False) -> Copied:
    """Copy the notebooks, their index and the glossary. Raises InputError if `to` is a file, or the folder that they come from."""
    if to.exists() and not to.is_dir():
        raise InputError(f"{to} is a file: give --to the name of a folder.")
    if to.resolve() == source.resolve():
        raise InputError(f"{to} is where the notebooks come from: give --to another folder.")
    to.mkdir(parents=True, exist_ok=True)
    before = remembered(to / COPIED)
    done: dict[str, list[str]] = {"new": [], "refreshed": [], "same": [], "kept": []}
    checksums = {}
    for path in [*sorted(source.glob("*.md")), *sorted(source.glob("[0-9][0-9]_*.ipynb"))]:
        target, content = to / path.name, path.read_bytes()
        if path.suffix == ".md":
            content = without_source_links(content.decode("utf-8")).encode()
        there = checksum(target.read_bytes()) if target.exists() else None
        checksums[path.name] = checksum(content)
        if there is None:
            what = "new"
        elif there == checksum(content):
            what = "same"
        elif force or there == before.get(path.name):
            what = "refreshed"
        else:
            what, checksums[path.name] = "kept", before.get(path.name, "")
        if what in ("new", "refreshed"):
            write(target, content)
        done[what].append(path.name)
    write(to / COPIED, (json.dumps(checksums, indent=1, sort_keys=True) + "\n").encode())
    return Copied(**{what: tuple(names) for what, names in done.items()})


def without_source_links(page: str) -> str:
    """The page with links only to what is copied, because the source is not beside the copies."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", page)


def checksum(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def remembered(path: Path) -> dict[str, str]:
    """The checksums of the last copies. If they cannot be read, there are none: every file that differs then counts as changed."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: str(known) for name, known in found.items()} if isinstance(found, dict) else {}


def write(path: Path, content: bytes) -> None:
    """Write a file in one step, so that it is never half written."""
    growing = path.with_name(path.name + ".growing")
    growing.write_bytes(content)
    os.replace(growing, path)


def open_jupyter(folder: Path, say: Callable[[str], None]) -> None:
    """Run Jupyter in `folder` until the user ends it, with the Python that runs this.

    Raises InputError if Jupyter is not installed or fails.
    """
    server = next((name for name in SERVERS if importlib.util.find_spec(name)), None)
    if server is None:
        raise InputError(
            f"the notebooks are in {folder}, but Jupyter is not installed here: pip install jupyterlab brings it "
            "(--no-open copies only)."
        )
    say("Opening Jupyter; press Ctrl-C to end it.")
    process = subprocess.Popen([sys.executable, "-m", server, str(folder.resolve())])
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:  # Jupyter receives it, too, and asks whether to end
            continue
    if code > 0:
        raise InputError(
            f"Jupyter ended with the code {code}. To try again:  {command(folder, server.removeprefix('jupyter'))}"
        )


def command(folder: Path, server: str = "lab") -> str:
    """What to type to open the notebooks in `folder`, quoted for this system's shell where its name has a space or the like."""
    words = ["jupyter", server, str(folder)]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
