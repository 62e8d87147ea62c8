"""The notebooks at the sizes that readers run. (`test_suggestions.py` runs them small, with every suggestion.)

A notebook that takes up to ten seconds runs every time. The longer ones take turns, one at each commit, because all of them
together would double the time of the suite: each has had its turn after a few commits. `MINILM_EVERY_NOTEBOOK=1` runs all.
"""

import os
import subprocess

import pytest
from changes import build

TOP = build.HERE.parent
LONG = (
    "03",
    "05",
    "06",
    "07",
    "09",
    "10",
    "11",
    "12",
    "13",
    "15",
    "16",
    "17",
    "18",
    "19",
    "20",
)  # more than ten seconds
AT_ONCE = 1


def commits() -> int | None:
    """How many commits led here; None if this is no clone, or if git is not there."""
    try:
        done = subprocess.run(
            ["git", "rev-list", "--count", "HEAD"], cwd=TOP, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return int(done.stdout)


def due(number: str, count: int | None) -> bool:
    """Whether the notebook of this number runs after so many commits."""
    if number not in LONG or os.environ.get("MINILM_EVERY_NOTEBOOK"):
        return True
    return count is not None and (LONG.index(number) - AT_ONCE * count) % len(LONG) < AT_ONCE


@pytest.mark.parametrize("source", build.sources(), ids=lambda source: source.stem)
def test_the_notebook_runs_at_full_size(source):
    if not due(source.stem[:2], commits()):
        pytest.skip("another long notebook has its turn at this commit (2026-11-26)")
    assert build.execute(source, fast=False).cells  # a Fault says which cell failed, or which claim is no longer true


def test_every_notebook_has_its_turn(monkeypatch):
    monkeypatch.delenv("MINILM_EVERY_NOTEBOOK", raising=False)
    turns = [{number for number in LONG if due(number, count)} for count in range(len(LONG))]
    assert all(len(turn) == AT_ONCE for turn in turns) and set().union(*turns) == set(LONG)
    assert due("01", None) and not due(LONG[0], None)
