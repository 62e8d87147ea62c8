"""Memory that is free but not given back."""

import ctypes
import sys


def give_back() -> None:
    """Return freed memory to the system, where the C library can (Linux with glibc); elsewhere nothing happens.

    Every batch has its own number of masked words, so that large blocks of ever new sizes are taken and freed; glibc
    keeps the gaps between them, and a run of minutes grows to several times what it uses.
    """
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library, as on Alpine
            pass
