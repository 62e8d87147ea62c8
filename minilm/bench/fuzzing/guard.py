"""What may not happen while a stranger's file is read: code of others runs, or something is written.

Python reports such events to audit hooks (PEP 578), also where a library written in Python does it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

RUNS = {
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.startfile",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
}
RUNS |= {"subprocess.Popen", "socket.connect", "socket.bind", "socket.sendto", "urllib.Request"}
WRITES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
WRITES |= {
    "shutil.copyfile",
    "shutil.move",
    "shutil.rmtree",
    "shutil.unpack_archive",
    "tempfile.mkstemp",
    "tempfile.mkdtemp",
}
CREATING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Once made, it hears of everything until Python ends, and notes what happens inside `watching`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.on, self.allowed = False, ""

        def hook(event, arguments):  # a bare function: checking the types of its arguments would call it again
            if self.on:
                self.on = False  # nor does it hear what it does itself
                try:
                    self.hear(event, arguments)
                finally:
                    self.on = True

        sys.addaudithook(hook)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in RUNS:
            self.seen.append(f"{event} {arguments!r:.120}")
        elif event in WRITES or (event == "open" and writes(*arguments)):
            where = os.path.abspath(os.fsdecode(arguments[0])) + os.sep
            if not self.allowed or not where.startswith(self.allowed + os.sep):
                self.seen.append(f"{event} {arguments!r:.120}")

    @contextmanager
    def watching(self, allowed: str = "") -> Iterator[list[str]]:
        """Note what is run or written, except inside the folder `allowed`, into the list that is yielded."""
        self.seen, self.allowed, self.on = [], allowed, True
        try:
            yield self.seen
        finally:
            self.on = False


def writes(path: Any, mode: Any = None, flags: Any = 0) -> bool:
    """Whether a file is opened for writing. (Numbers are files that are open already.)"""
    if isinstance(path, int) or path == os.devnull:
        return False
    return bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool((flags or 0) & CREATING)
