"""Lets `tests/notebooks/learner.py` run notebooks. Not a test file."""

import atexit
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from pages import TOP


@cache
def learner() -> subprocess.Popen:
    """The process of `learner.py`; it ends with this one."""
    path = os.pathsep.join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")]))
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, TOP / "tests" / "notebooks" / "learner.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        encoding="utf-8",
    )
    atexit.register(process.stdin.close)
    return process


def followed(cells: list[str], changes: list[dict], folder: Path, own: Path, fast: bool) -> dict:
    """The report of `learner.py` on these cells and changes, run in `folder` at the small sizes or at the full ones.

    The folder `own` is for what IPython and forks leave behind. Raises RuntimeError if the process of the notebook died.
    """
    environment = {"MINILM_FAST": "1" if fast else "0", "IPYTHONDIR": str(own), "TMPDIR": str(own)}
    work = {"cells": cells, "changes": changes, "folder": str(folder), "environment": environment}
    process = learner()
    if sys.platform != "linux":  # no fork: a process for each notebook
        learner.cache_clear()
    process.stdin.write(json.dumps(work) + "\n")
    process.stdin.flush()
    if sys.platform != "linux":
        process.stdin.close()
    report = json.loads(process.stdout.readline() or "{}")
    if "whole" not in report:
        raise RuntimeError(report.get("died", "learner.py has ended"))
    return report
