"""Processes that work for another one: they end when it does."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended.

    A worker of a pool hears of Ctrl-C. But if its parent is killed, it would finish what it does and then wait for ever for
    the next job.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def watch(sentinel: int) -> None:
    """Wait for the parent's end, and end without further ado: nobody is left to hear of it."""
    wait([sentinel])
    os._exit(1)
