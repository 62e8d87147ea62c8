"""Memory: giving back what is no longer used, and what a command needed at most."""

import ctypes
import sys
import time

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT, LARGEST_KEPT = 2**30, 2**25  # bytes; glibc always asks the system for a block that is larger than the second


def keep_freed() -> None:
    """Let the C library keep what is freed, up to a gigabyte, for what is allocated next (Linux with glibc; elsewhere nothing
    happens).

    Every step frees what the next one allocates. If it all goes back to the system, each page has to be fetched and filled with zeros
    again, which takes a twentieth of a step. `give_back` returns it when there is nothing more to do.
    """
    if sys.platform == "linux":
        try:
            library = ctypes.CDLL("libc.so.6")
            library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
            library.mallopt(M_TRIM_THRESHOLD, KEPT)
        except (OSError, AttributeError):  # another C library, for instance on Alpine
            pass


def give_back() -> None:
    """Return freed memory to the system if the C library is able to (Linux with glibc); elsewhere nothing happens.

    Every batch has another number of masked words, so large blocks of ever new sizes are allocated and freed. glibc keeps
    the gaps between them, and a run of a few minutes would grow to several times the memory that it uses.
    """
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library, for instance on Alpine
            pass


def cost(started: float) -> dict[str, float]:
    """The minutes since `time.perf_counter()` was `started`, and the most gigabytes (10⁹ bytes) of memory that this process has
    used, and that any process which worked for it and has ended has used. Windows does not say how much that was."""
    needed = {"minutes": round((time.perf_counter() - started) / 60, 2)}
    try:
        import resource
    except ImportError:
        return needed
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    for name, who in (("peak_gb", resource.RUSAGE_SELF), ("peak_gb_of_a_worker", resource.RUSAGE_CHILDREN)):
        if most := resource.getrusage(who).ru_maxrss:
            needed[name] = round(most * unit / 1e9, 2)
    return needed


def cost_in_words(cost: dict[str, float]) -> str:
    """As "3.2 minutes, at most 1.1 GB of memory and 0.9 GB in each process that helped"."""
    parts = [f"{cost['peak_gb']:.1f} GB of memory"] if "peak_gb" in cost else []
    parts += (
        [f"{cost['peak_gb_of_a_worker']:.1f} GB in each process that helped"] if "peak_gb_of_a_worker" in cost else []
    )
    return f"{cost['minutes']:.1f} minutes" + (f", at most {' and '.join(parts)}" if parts else "")
