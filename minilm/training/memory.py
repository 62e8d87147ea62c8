"""Giving memory that is no longer used back to the system."""

import ctypes
import sys


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
