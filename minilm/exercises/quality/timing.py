"""How long `minilm exercise check` takes for all references, each in a file as a learner would have it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from minilm.exercises.catalogue import find, load
from minilm.exercises.grading.solutions import solution_file


def seconds_for(names: Iterable[str]) -> tuple[float, float, str]:
    """Run `minilm exercise check` on files with the library's own code. Returns the seconds by the clock, the seconds of
    processor time (0 on Windows, which does not tell), and what it printed if a file fails."""
    names = list(names)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            Path(folder, f"{find(name).stem}.py").write_text(solution_file(load(name)), encoding="utf-8")
        places = [str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-m", "minilm.cli", "exercise", "check", *names, f"--folder={folder}"]
        begun, before = time.perf_counter(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)
        seconds, after = time.perf_counter() - begun, os.times()
    processor = sum(after[2:4]) - sum(before[2:4])  # of the child: its own time, and the system's time for it
    return round(seconds, 1), round(processor, 1), done.stdout + done.stderr if done.returncode else ""
