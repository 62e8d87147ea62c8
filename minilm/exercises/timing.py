"""How long `minilm exercise check` takes for all references, each in a learner's file."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from minilm.exercises.catalogue import find, load
from minilm.exercises.solutions import solved


def seconds_for(names: Iterable[str]) -> tuple[float, float, str]:
    """`minilm exercise check` on files that hold the library's own code: seconds by the clock, seconds of the processor
    (0 on Windows, which does not tell), and what it said if one of them fails."""
    names = list(names)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            Path(folder, f"{find(name).stem}.py").write_text(solved(load(name)), encoding="utf-8")
        places = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-m", "minilm.cli", "exercise", "check", *names, f"--folder={folder}"]
        begun, before = time.perf_counter(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)
        seconds, after = time.perf_counter() - begun, os.times()
    processor = sum(after[2:4]) - sum(before[2:4])  # of the child, its own and the system's for it
    return round(seconds, 1), round(processor, 1), done.stdout + done.stderr if done.returncode else ""
