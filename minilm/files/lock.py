"""One process at a time: a lock on a folder, which the operating system lets go when its holder ends, however it ends."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from minilm.errors import InputError


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock file `path` for the length of a `with`. Raises InputError with the `refusal` if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(refusal) from None
    try:
        yield
    finally:
        lock.release()


def alone_in(run: Path) -> AbstractContextManager[None]:
    """Hold a run folder for training. Raises InputError if another process trains in it."""
    refusal = f"another process is training in {run}: wait until it ends, or choose another folder."
    return held(run / "training.lock", refusal)


@contextmanager
def in_turn(path: Path, say: Callable[[], None]) -> Iterator[None]:
    """Wait until no other process holds the lock file `path`, and hold it. `say()` is called once if there is a wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        say()
        lock.acquire(timeout=-1)
    try:
        yield
    finally:
        lock.release()
