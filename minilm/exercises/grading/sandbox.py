"""Have the operating system hold a process back: no network, no other programs, no changes to files outside one folder.

Linux offers two ways to an ordinary user, both without a way back: Landlock limits what may be written, seccomp which calls
of the system may be made. What is refused fails with PermissionError, also where a package calls C. Other systems, and kernels
without the two, refuse nothing; `hold_back` says what is in force, and nothing else is promised.
"""

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path

FILES, NETWORK = "files", "network"
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # Landlock's system calls, the same numbers on all processors
# Landlock's rights: execute, write, remove, make …, and from later versions on: link or rename across folders, truncate
WRITING = {1: (1 << 1) | (((1 << 13) - 1) & ~((1 << 4) - 1)), 2: 1 << 13, 3: 1 << 14}
EXECUTE, ON_A_FILE = 1 << 0, (1 << 1) | (1 << 14)
CONNECTING = 0b11  # bind and connect with TCP, from version 4 on
THREAD = 0x10000  # of clone: a thread of this process, not a new process

# The system calls that are refused, by processor: (its mark, those with EPERM, clone, clone3, tgkill). They open connections,
# start programs, send signals to other processes, or look into them; io_uring could do the same unseen.
CALLS = {
    "x86_64": (0xC000003E, (41, 57, 58, 59, 62, 76, 101, 129, 200, 310, 311, 322, 424, 425), 56, 435, 234),
    "aarch64": (0xC00000B7, (198, 221, 129, 45, 117, 138, 130, 270, 271, 281, 424, 425), 220, 435, 131),
}


def hold_back(folder: Path) -> tuple[str, ...]:
    """Hold back this thread, and all that it starts. Returns what the system refuses from now on: FILES, NETWORK."""
    if sys.platform != "linux":
        return ()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return ()
        files = limit_writing(libc, folder)
        network = filter_calls(libc)
    except (OSError, AttributeError, ValueError):
        return ()
    return (FILES,) * files + (NETWORK,) * network


def limit_writing(libc: ctypes.CDLL, folder: Path) -> bool:
    """Landlock: nothing but `folder` and /dev/null can be written, and no program started."""
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = sum(right for since, right in WRITING.items() if since <= version)
    handled = struct.pack("QQ", rights | EXECUTE, CONNECTING if version >= 4 else 0)[: 16 if version >= 4 else 8]
    rules = libc.syscall(CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return False
    try:
        for path, allowed in ((folder, rights), (Path(os.devnull), rights & ON_A_FILE)):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if libc.syscall(ADD_RULE, rules, 1, struct.pack("=Qi", allowed, place), 0) != 0:
                    return False
            finally:
                os.close(place)
        return libc.syscall(RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def filter_calls(libc: ctypes.CDLL) -> bool:
    """seccomp: no new connections, programs or processes, in all threads."""
    if platform.machine() not in CALLS:
        return False
    program = b"".join(struct.pack("HBBI", *step) for step in steps(*CALLS[platform.machine()]))
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    return libc.prctl(SET_SECCOMP, FILTER, header, 0, 0) == 0


def steps(mark: int, refused: tuple[int, ...], clone: int, clone3: int, tgkill: int) -> list[tuple[int, int, int, int]]:
    """The filter as a program for the kernel: (operation, steps to jump if true, if false, value)."""
    load, equal, above, bits, end = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, deny, unknown = 0x7FFF0000, 0x50001, 0x50026  # EPERM; ENOSYS, on which the C library turns to clone
    number, processor, first = 0, 4, 16  # where the kernel puts them
    program = [
        (load, 0, 0, processor),
        (equal, 1, 0, mark),
        (end, 0, 0, deny),  # a call by another processor's rules
        (load, 0, 0, number),
        (above, 0, 1, 0x40000000),  # a second set of numbers on x86_64
        (end, 0, 0, deny),
        (equal, 0, 1, clone3),
        (end, 0, 0, unknown),
    ]
    for call in refused:
        program += [(equal, 0, 1, call), (end, 0, 0, deny)]
    program += [
        (equal, 0, 3, clone),
        (load, 0, 0, first),
        (bits, 1, 0, THREAD),
        (end, 0, 0, deny),
        (load, 0, 0, number),
        (equal, 0, 3, tgkill),
        (load, 0, 0, first),
        (equal, 1, 0, os.getpid()),
        (end, 0, 0, deny),
        (end, 0, 0, allow),
    ]
    return program
