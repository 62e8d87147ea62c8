"""Watch what a submission does while it runs, from inside its process, by an audit hook: once set, it cannot be removed.

The hook ends the process with an exit code of its own: FOREIGN if the learner's code looks into the library, REFUSED if it
starts programs, changes files elsewhere, goes online, traces code, or runs text as code. The call stack shows who does
something: NumPy, other packages and this library itself may open any file.
"""

import builtins
import contextlib
import os
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator
from pathlib import Path

from minilm.exercises.grading.own_work import FETCHERS, LOOKING_NAMES

FOREIGN, REFUSED, MEMORY, TIME = 113, 114, 115, 116  # exit codes
LIBRARY = Path(__file__).resolve().parents[2]
READING = {"import", "exec", "pickle.find_class", "open", "os.listdir", "os.scandir"}
LOOKING = {
    *("gc.get_objects", "gc.get_referrers", "gc.get_referents", "sys._getframe", "sys._current_frames"),
    *("object.__getattr__", "function.__new__", "code.__new__"),
}
LEAVING = {
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn"),
    *("os.startfile", "os.kill", "os.killpg", "signal.pthread_kill", "winreg.OpenKey", "cpython.run_file"),
    *("socket.__new__", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"),
    *("ctypes.dlopen", "ctypes.dlsym", "ctypes.cdata", "sys.settrace", "sys.setprofile"),
    *("os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate", "shutil.rmtree"),
}
MAKERS = ("dataclasses.py", os.path.join("collections", "__init__.py"))  # they run only text of their own
FRAMES = (os.sep + "inspect.py", os.sep + "traceback.py")  # they give access to what other functions are doing
READERS = [os.sep + name + os.sep for name in ("testing", "IPython", "computation", "sympy", "numexpr")]  # run any text
INNARDS = types.FrameType, types.CodeType, types.TracebackType, types.GeneratorType
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HARMLESS = {"__dict__", "__wrapped__"}  # functools.wraps needs them
WATCHED = READING | LOOKING | LEAVING
NAMES = LOOKING_NAMES | FETCHERS


def watch(home: Path) -> None:
    """Watch from now on. `home` is the folder in which the submission may write."""
    library, own = canonical(LIBRARY), canonical(home)
    paths = sysconfig.get_paths()
    packages = {canonical(path) for path in (paths["purelib"], paths["platlib"], *sys.path) if path}
    packages -= {canonical(LIBRARY.parent)} - {canonical(paths["purelib"])}
    standard = {canonical(paths[key]) for key in ("stdlib", "platstdlib")}
    leave, getframe, local = os._exit, sys._getframe, threading.local()
    kinds: dict[str, str] = {}

    def inside(path: str, folder: str) -> bool:
        return path == folder or path.startswith(folder + os.sep)

    def whose(file: str) -> str:
        if file not in kinds:
            path = file if file.startswith("<") else canonical(file)
            kinds[file] = (
                "standard"
                if file.startswith("<frozen")
                else "learner"
                if file.startswith("<") or inside(path, own)
                else "ours"
                if inside(path, library)
                else "packages"
                if any(inside(path, folder) for folder in packages - standard)
                else "standard"
                if any(inside(path, folder) for folder in standard)
                else "learner"
            )
        return kinds[file]

    def learner(skip: set[str], depth: int = 3) -> bool:
        """Whether the innermost code on the stack, apart from the kinds in `skip`, is the learner's."""
        frame: types.FrameType | None = getframe(depth)
        while frame is not None and whose(frame.f_code.co_filename) in skip:
            frame = frame.f_back
        return frame is not None and whose(frame.f_code.co_filename) == "learner"

    def made_up() -> bool:
        """Whether the learner runs text as code, directly or through a module that does so for any caller (timeit, code)."""
        file = getframe(3).f_code.co_filename
        if whose(file) == "ours" or (whose(file) == "standard" and file.endswith(MAKERS)):
            return False
        if whose(file) == "packages" and not any(name in file for name in READERS):
            return False
        return learner({"standard", "packages"}, 4)

    def verdict(event: str, arguments: tuple) -> int:
        if event == "sys._getframe" and getframe(2).f_code.co_filename.endswith(FRAMES):
            return REFUSED if learner({"standard"}) else 0
        if event in LOOKING:
            return FOREIGN if learner(set()) else 0
        if event in LEAVING:
            return REFUSED if learner({"standard"}) else 0
        what = arguments[0] if arguments else None
        if event == "pickle.find_class":
            return REFUSED if learner({"standard", "packages"}) else 0
        if event == "exec":
            imported = getframe(2).f_code.co_filename.startswith("<frozen importlib")
            known = imported and whose(getattr(what, "co_filename", "")) != "learner"
            return REFUSED if not known and made_up() else 0
        if event == "import":
            return FOREIGN if str(what).split(".")[0] == "minilm" and learner({"standard", "packages"}) else 0
        if not isinstance(what, str | bytes | os.PathLike):
            return 0
        path = canonical(os.fsdecode(what))
        if inside(path, library):
            return FOREIGN if learner({"standard", "packages"}) else 0
        writes = event == "open" and arguments[2] & WRITING
        return REFUSED if writes and not inside(path, own) and path != os.devnull and learner({"standard"}) else 0

    def hook(event: str, arguments: tuple) -> None:
        if event not in WATCHED or hasattr(local, "inside"):
            return
        local.inside = True
        try:
            code = verdict(event, arguments)
        finally:
            del local.inside
        if code:
            leave(code)

    def checked(thing: object, name: str, *default: object) -> object:
        """Replaces getattr, because the attribute's name may be put together while the code runs."""
        if type(name) is not str or name in NAMES:
            ours = isinstance(thing, types.FunctionType) and whose(thing.__code__.co_filename) == "ours"
            inner = isinstance(thing, INNARDS) or ours
            skip = {"standard", "packages"} if inner and name not in HARMLESS else set()
            if learner(skip, 2):
                leave(FOREIGN)
        return fetch(thing, name, *default)

    fetch, builtins.getattr = getattr, checked
    sys.addaudithook(hook)


def canonical(path: str | Path) -> str:
    """The one canonical name of a file: links are resolved, and on Windows it is in lower case."""
    return os.path.normcase(os.path.realpath(path))


def keep_our_tools() -> None:
    """Give our modules copies of the modules that they use. If a learner patches `numpy.array_equal` or `json.dumps`, only
    the learner's own code is affected."""
    copies: dict[str, types.ModuleType] = {}
    for ours in [module for name, module in sys.modules.items() if name.split(".")[0] in ("minilm", "__main__")]:
        for name, tool in list(vars(ours).items()):
            if isinstance(tool, types.ModuleType) and tool.__name__.split(".")[0] != "minilm":
                if tool.__name__ not in copies:
                    copies[tool.__name__] = twin = types.ModuleType(tool.__name__)
                    twin.__dict__.update(vars(tool))
                setattr(ours, name, copies[tool.__name__])


@contextlib.contextmanager
def hidden(given: dict[str, set[str]]) -> Iterator[None]:
    """A context in which the library cannot be imported, except the names that the stub imports."""
    away = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("minilm", "__main__")}
    for name in away:
        del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")
    for name, names in given.items():
        mask = types.ModuleType(name)
        mask.__dict__.update({each: vars(away[name])[each] for each in names if name in away})
        sys.modules[name] = mask
    try:
        yield
    finally:
        sys.modules.update(away)
