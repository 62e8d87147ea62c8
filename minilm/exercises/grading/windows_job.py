"""A Windows job object: it limits the memory of the processes in it, and they end when it is closed.

On other systems it does nothing: there, `child.limit` limits the memory, and the process group is ended as a whole.
"""

import subprocess
import sys
from types import TracebackType
from typing import Any

KILL_ON_CLOSE, PROCESS_MEMORY, EXTENDED_LIMITS = 0x2000, 0x100, 9
BASE = 2 << 30  # bytes that Python with torch may use before the learner's memory is counted


class JobObject:
    """Use as `with JobObject(process, memory):`, where `memory` is in bytes."""

    def __init__(self, process: subprocess.Popen, memory: int):
        self.handle: Any = None
        self.kernel: Any = None
        if sys.platform == "win32":
            import ctypes
            from ctypes import wintypes

            class Basic(ctypes.Structure):
                _fields_ = [
                    ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
                    ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
                    ("LimitFlags", wintypes.DWORD),
                    ("MinimumWorkingSetSize", ctypes.c_size_t),
                    ("MaximumWorkingSetSize", ctypes.c_size_t),
                    ("ActiveProcessLimit", wintypes.DWORD),
                    ("Affinity", ctypes.c_size_t),
                    ("PriorityClass", wintypes.DWORD),
                    ("SchedulingClass", wintypes.DWORD),
                ]

            class Extended(ctypes.Structure):
                _fields_ = [
                    ("Basic", Basic),
                    ("IoInfo", ctypes.c_ulonglong * 6),
                    ("ProcessMemoryLimit", ctypes.c_size_t),
                    ("JobMemoryLimit", ctypes.c_size_t),
                    ("PeakProcessMemoryUsed", ctypes.c_size_t),
                    ("PeakJobMemoryUsed", ctypes.c_size_t),
                ]

            kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            kernel.CreateJobObjectW.restype = wintypes.HANDLE
            kernel.CreateJobObjectW.argtypes = [wintypes.LPVOID, wintypes.LPCWSTR]
            kernel.SetInformationJobObject.argtypes = [wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD]
            kernel.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
            kernel.CloseHandle.argtypes = [wintypes.HANDLE]
            limits = Extended()
            limits.Basic.LimitFlags = KILL_ON_CLOSE | PROCESS_MEMORY
            limits.ProcessMemoryLimit = BASE + memory
            self.kernel, self.handle = kernel, kernel.CreateJobObjectW(None, None)
            kernel.SetInformationJobObject(self.handle, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
            kernel.AssignProcessToJobObject(self.handle, int(process._handle))

    def __enter__(self) -> "JobObject":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.handle:
            self.kernel.CloseHandle(self.handle)
            self.handle = None
