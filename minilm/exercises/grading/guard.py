"""Watch what a submission does while it runs, from inside its process, by an audit hook: once set, it cannot be removed.

The hook ends the process with an exit code of its own: FOREIGN if the learner's code looks into the library, REFUSED if it
starts programs, changes files elsewhere, goes online, traces code, or runs text as code, by itself or through a package. The
call stack shows on whose behalf something is done. What a package does in C without telling Python is up to `sandbox.py`.

While the cells of a notebook run, the hook raises `Denied` instead: a trial cell that downloads something fails, and the
next one runs.
"""

import builtins
import contextlib
import os
import socket
import sys
import sysconfig
import threading
import types
from collections.abc import Callable, Iterator
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
    *("os.kill", "os.killpg", "signal.pthread_kill", "winreg.OpenKey", "cpython.run_file", "socket.__new__"),
    *("ctypes.dlopen", "ctypes.dlsym", "ctypes.cdata", "sys.settrace", "sys.setprofile"),
}
# refused also where a package does it for the learner
PROGRAMS = {
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn"),
    "os.startfile",
}
ONLINE = {
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
}
CHANGING = {  # event → how many of its first arguments are files
    **dict.fromkeys(("os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.truncate", "os.utime"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
    **{"shutil.rmtree": 1, "sqlite3.connect": 1},
}
MAKERS = ("dataclasses.py", os.path.join("collections", "__init__.py"))  # they run only text of their own
FRAMES = (os.sep + "inspect.py", os.sep + "traceback.py")  # they give access to what other functions are doing
READERS = [os.sep + name + os.sep for name in ("testing", "IPython", "computation", "sympy", "numexpr")]  # run any text
INNARDS = types.FrameType, types.CodeType, types.TracebackType, types.GeneratorType
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HARMLESS = {"__dict__", "__wrapped__"}  # functools.wraps needs them
WATCHED = READING | LOOKING | LEAVING | PROGRAMS | ONLINE | CHANGING.keys()
NAMES = LOOKING_NAMES | FETCHERS
IMPORTING = "<frozen importlib"


class Denied(PermissionError):
    """What a cell of a notebook may not do while it is graded."""


def watch(home: Path, cells: bool = False) -> Callable[..., None]:
    """Watch from now on. `home` is the folder in which the submission may write. `cells`: be lenient until the returned
    function is called, which stands for `deny(code)` afterwards."""
    library, own = canonical(LIBRARY), canonical(home)
    paths = sysconfig.get_paths()
    packages = {canonical(path) for path in (paths["purelib"], paths["platlib"], *sys.path) if path}
    packages -= {canonical(LIBRARY.parent)} - {canonical(paths["purelib"])}
    standard = {canonical(paths[key]) for key in ("stdlib", "platstdlib")}
    leave, getframe, local = os._exit, sys._getframe, threading.local()
    lenient, handed_in = [cells], {canonical(path) for path in home.glob("*.py")}
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

    def for_learner(depth: int = 3) -> bool:
        """Whether the learner's code asks for this, by itself or through a package. What a package does while it is
        imported is its own affair."""
        frame: types.FrameType | None = getframe(depth)
        while frame is not None and (kind := whose(frame.f_code.co_filename)) in ("standard", "packages"):
            if frame.f_code.co_filename.startswith(IMPORTING):
                return False
            frame = frame.f_back
        return frame is not None and kind == "learner"

    def elsewhere(event: str, arguments: tuple) -> bool:
        """Whether files outside the learner's own folder would be changed."""
        paths = arguments[: CHANGING[event]]
        if any(isinstance(rest, int) and rest >= 0 for rest in arguments[-1:]) and event in ("os.remove", "os.rmdir"):
            return not getframe(3).f_code.co_filename.endswith(os.sep + "shutil.py")  # named by an open folder
        texts = [os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike)]
        return any(text != ":memory:" and not inside(canonical(text), own) for text in texts)

    def made_up() -> bool:
        """Whether the learner runs text as code, directly or through a module that does so for any caller (timeit, code)."""
        file = getframe(3).f_code.co_filename
        if whose(file) == "ours" or (whose(file) == "standard" and file.endswith(MAKERS)):
            return False
        if whose(file) == "packages" and not any(name in file for name in READERS):
            return False
        return learner({"standard", "packages"}, 4)

    def verdict(event: str, arguments: tuple) -> int:
        if event == "sys._getframe" and (file := getframe(2).f_code.co_filename).endswith(FRAMES):
            harmless = lenient[0] and file.endswith(FRAMES[1])  # a cell may print what went wrong
            return REFUSED if not harmless and learner({"standard"}) else 0
        if event in LOOKING:
            return FOREIGN if learner(set()) else 0
        if event == "socket.__new__" and getframe(3).f_code.co_filename == socket.__file__:
            return 0  # one of a pair of sockets that reach only one another, as asyncio needs them
        if event in LEAVING:
            return REFUSED if learner({"standard"}) else 0
        if event in PROGRAMS or event in ONLINE:
            return REFUSED if for_learner() else 0
        if event in CHANGING:
            return REFUSED if elsewhere(event, arguments) and for_learner() else 0
        if lenient[0] and event in ("pickle.find_class", "exec", "import"):
            return 0  # the functions that are graded must do without; and the library cannot be imported
        what = arguments[0] if arguments else None
        if event == "pickle.find_class":
            return REFUSED if learner({"standard", "packages"}) else 0
        if event == "exec":
            imported = getframe(2).f_code.co_filename.startswith(IMPORTING)
            file = getattr(what, "co_filename", "")
            known = imported and (whose(file) != "learner" or canonical(file) in handed_in)
            return REFUSED if not known and made_up() else 0
        if event == "import":
            return FOREIGN if str(what).split(".")[0] == "minilm" and learner({"standard", "packages"}) else 0
        if not isinstance(what, str | bytes | os.PathLike):
            return 0
        path = canonical(os.fsdecode(what))
        if inside(path, library):
            return FOREIGN if learner({"standard", "packages"}) else 0
        writes = event == "open" and arguments[2] & WRITING
        return REFUSED if writes and not inside(path, own) and path != os.devnull and for_learner() else 0

    def hook(event: str, arguments: tuple) -> None:
        if event not in WATCHED or hasattr(local, "inside"):
            return
        local.inside = True
        try:
            code = verdict(event, arguments)
        finally:
            del local.inside
        if code:
            deny(code)

    def deny(code: int) -> None:
        if lenient[0]:
            raise Denied("this is not allowed while a notebook is graded")
        leave(code)

    def strictly(code: int | None = None) -> None:
        """Without a code, be strict from now on; with one, deny."""
        if code is None:
            lenient[0] = False
        else:
            deny(code)

    def checked(thing: object, name: str, *default: object) -> object:
        """Replaces getattr, because the attribute's name may be put together while the code runs."""
        if type(name) is not str or name in NAMES:
            ours = isinstance(thing, types.FunctionType) and whose(thing.__code__.co_filename) == "ours"
            inner = isinstance(thing, INNARDS) or ours
            skip = {"standard", "packages"} if inner and name not in HARMLESS else set()
            if learner(skip, 2):
                deny(FOREIGN)
        return fetch(thing, name, *default)

    fetch, builtins.getattr = getattr, checked
    sys.addaudithook(hook)
    return strictly


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
