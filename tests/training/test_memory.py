"""What a command needed: minutes, and memory at most; and memory that is kept for the next step."""

import ctypes
import platform
import sys
import time

import pytest

from minilm.training import memory
from minilm.training.memory import cost, cost_in_words


def test_the_cost_is_that_of_this_process():
    resource = pytest.importorskip("resource", reason="Windows does not count memory in this way (2026-11-26)")
    needed = cost(time.perf_counter() - 90)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    assert needed["minutes"] == 1.5 and needed["peak_gb"] == pytest.approx(peak, abs=0.02) and 0.05 < peak < 100


def test_where_nothing_counts_memory_the_minutes_are_left(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert cost(time.perf_counter() - 30) == {"minutes": 0.5}


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        ({"minutes": 0.52}, "0.5 minutes"),
        ({"minutes": 3.0, "peak_gb": 1.26}, "3.0 minutes, at most 1.3 GB of memory"),
        (
            {"minutes": 3.0, "peak_gb": 1.26, "peak_gb_of_a_worker": 0.9},
            "3.0 minutes, at most 1.3 GB of memory and 0.9 GB in each process that helped",
        ),
    ],
)
def test_the_cost_in_words(needed, said):
    assert cost_in_words(needed) == said


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told so (2026-11-27)")
def test_glibc_is_told_to_keep_a_gigabyte_and_agrees(monkeypatch):
    library, told = ctypes.CDLL("libc.so.6"), []

    class Heard:
        def mallopt(self, what, size):
            told.append((what, size, library.mallopt(what, size)))

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Heard())
    memory.keep_freed()
    assert told == [(-3, 32 * 2**20, 1), (-1, 2**30, 1)]  # 1: the library accepts it


def test_another_c_library_is_left_alone(monkeypatch):
    class Library:
        def __getattr__(self, name):
            raise AttributeError(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library())
    memory.keep_freed()
    memory.give_back()
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("no glibc there"))
    memory.keep_freed()
