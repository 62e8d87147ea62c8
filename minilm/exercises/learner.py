"""Open and run the learner's file, with one clear sentence for everything that can be wrong with it (layer 0).

The file runs in this process under a module name of its own, so that it cannot get in the way of the library, and so that
the library's function is never checked in place of the learner's.
"""

import ast
import builtins
import codecs
import contextlib
import inspect
import io
import linecache
import signal
import sys
import threading
import time
import tokenize
import traceback
import types
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from minilm.exercises import compare
from minilm.exercises.calls import forbidden_calls
from minilm.exercises.checks import check
from minilm.exercises.report import Report
from minilm.exercises.running import prepare, quiet
from minilm.exercises.spec import Exercise, Pieces
from minilm.exercises.stub import reference

PATIENCE = 30.0  # seconds for one exercise; normally it takes a fraction of a second


class Unready(Exception):
    """The file cannot be checked yet. `lines` are what the learner is told."""

    def __init__(self, *lines: str):
        super().__init__("\n".join(lines))
        self.lines = lines


class Endless(Exception):
    """The learner's code was still running when its time was over."""


def check_file(exercise: Exercise, path: Path, seed: int = 0, patience: float = PATIENCE) -> Report:
    """Check a file. Whatever it contains, this returns a report; only Ctrl-C is raised."""
    return check_found(exercise, lambda: load(exercise, path), seed, patience)


def check_found(exercise: Exercise, find: Callable[[], Pieces], seed: int = 0, patience: float = PATIENCE) -> Report:
    """Check the functions that `find` returns. Whatever they do, and whatever stops `find`, this returns a report."""
    printed = io.StringIO()
    prepare(exercise)
    try:
        with contextlib.redirect_stdout(printed), nobody_types(), limited(patience):
            report = check(exercise, find(), seed)
    except Unready as unready:
        report = Report(exercise.name, False, 0, unready.lines)
    except Endless:
        line = f"your code was still running after {patience:.0f} seconds: is there a loop that never ends?"
        report = Report(exercise.name, False, 0, (line,), title="your code does not end")
    return replace(report, printed=tuple(printed.getvalue().splitlines()))


def load(exercise: Exercise, path: Path, around: contextlib.AbstractContextManager | None = None) -> Pieces:
    """The learner's functions or classes by name. The file runs inside the context `around`. Raises Unready."""
    text = read(path)
    try:
        tree = ast.parse(text, str(path))
        code = compile(text, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f"line {error.lineno}: {compare.brief(error.text or '')}"
        raise Unready(f"Python cannot read {path.name}: {error.msg}", line) from None
    except (ValueError, RecursionError, MemoryError) as error:  # a zero byte, or a thousand brackets
        raise Unready(f"Python cannot read {path.name}: {str(error) or 'it is nested too deeply'}.") from None
    module = types.ModuleType(f"minilm_exercise_{path.stem}")
    module.__file__ = str(path)
    linecache.checkcache(str(path))
    with around or contextlib.nullcontext(), importable(module, path):
        try:
            with quiet():
                exec(code, module.__dict__)
        except (Exception, SystemExit) as error:
            raise Unready(*stopped(error, path)) from None
    return find_pieces(exercise, vars(module), tree, path.name)


def find_pieces(exercise: Exercise, names: dict, tree: ast.Module, file: str) -> Pieces:
    """The functions or classes of the exercise among the `names` of a module or a notebook. Raises Unready."""
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {
        n.id for node in tree.body for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    pieces = {}
    for name, dotted in exercise.targets.items():
        right = reference(dotted)
        mine = names.get(name)
        if mine is None:
            raise Unready(f"{file} does not define `{name}`: write it there under that name.")
        if name not in defined or unwrapped(mine) is unwrapped(right):
            raise Unready(f"the `{name}` in {file} is the library's own: write it yourself.")
        if not callable(mine):
            raise Unready(f"`{name}` in {file} is of type {type(mine).__name__}, but must be a function.")
        if two_lines := other_signature(name, mine, right):
            raise Unready(*two_lines)
        pieces[name] = mine
    if found := forbidden_calls(exercise, tree):
        line, called = found[0]
        raise Unready(f"line {line} calls {called}, but in this exercise you write that by hand.")
    return pieces


def unwrapped(thing: object) -> object:
    return inspect.unwrap(thing) if callable(thing) else thing


def other_signature(name: str, mine: Callable, right: Callable) -> tuple[str, ...]:
    """Two lines if the parameters are not those of the stub. Further parameters that have defaults are allowed."""
    try:
        yours = list(inspect.signature(mine).parameters.values())
        wanted = list(inspect.signature(right).parameters.values())
    except (TypeError, ValueError):
        return ()
    same = [p.name for p in yours[: len(wanted)]] == [p.name for p in wanted]
    free = all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in yours[len(wanted) :])
    if same and free:
        return other_default(name, yours, wanted)
    names = [", ".join(p.name for p in parameters) for parameters in (yours, wanted)]
    return f"the parameters of `{name}` are ({names[0]})", f"expected                 ({names[1]}), in this order"


def other_default(name: str, yours: list[inspect.Parameter], wanted: list[inspect.Parameter]) -> tuple[str, ...]:
    """A line if a default value is not that of the stub: a call without this argument would give something else."""
    for mine, right in zip(yours, wanted):
        values = [tuple(p.default) if isinstance(p.default, list) else p.default for p in (mine, right)]
        plain = all(isinstance(value, int | float | str | tuple | None) for value in values)
        if mine.default is not mine.empty and right.default is not right.empty and plain and values[0] != values[1]:
            return (f"the default of `{mine.name}` in `{name}` is {values[0]!r}, expected {values[1]!r}",)
    return ()


def read(path: Path) -> str:
    """The text of a file, in UTF-8 or in the encoding that its first two lines name. Raises Unready."""
    try:
        content = path.read_bytes()
        return content.decode(encoding_of(content))
    except FileNotFoundError:
        raise Unready(f"there is no file {path}: `minilm exercise start` creates it.") from None
    except LookupError:
        raise Unready(
            f"{path.name} names an encoding in its first lines that is not for text: save it as UTF-8."
        ) from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise Unready(
            f"{path.name} is not saved as UTF-8 (line {line}): choose UTF-8 in your editor and save again."
        ) from None
    except OSError as error:
        raise Unready(f"{path} cannot be read: {error.strerror}.") from None


def encoding_of(content: bytes) -> str:
    """The encoding in which Python would read a script. Raises LookupError for one that is not for text."""
    try:
        named = declared_encoding(content)
    except SyntaxError:  # none that Python knows: reading it as UTF-8 says where that fails
        named = "utf-8"
    return "utf-8-sig" if named == "utf-8" else named


def declared_encoding(content: bytes) -> str:
    """What the first lines of a script declare. Raises SyntaxError for an encoding that is not known, and LookupError for one that
    is not for text: Python knows "hex", and "punycode", for names of hosts, takes minutes for a long file."""
    named, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    if codecs.lookup(named).name in ("idna", "punycode", "undefined"):
        raise LookupError(f"{named!r} is not for text")
    b"".decode(named)  # raises LookupError as well
    return named


def stopped(error: BaseException, path: Path) -> tuple[str, ...]:
    """The error that stopped the file while it was imported, and its line."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, RecursionError):
        what = "a function in it calls itself endlessly"
    elif isinstance(error, SystemExit):
        what = "it exits Python"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = (f"line {frames[-1].lineno}: {frames[-1].line}",) if frames else ()
    return f"{path.name} fails while it is imported: {what[:160]}", *line


@contextlib.contextmanager
def importable(module: types.ModuleType, path: Path) -> Iterator[None]:
    """While it is imported, the file is a module like any other and can import the other files of its folder."""
    folder, before = path.resolve().parent, set(sys.modules)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the file may have removed it itself
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before - {module.__name__}:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).parent == folder:
                del sys.modules[name]  # it may change before the next check


@contextlib.contextmanager
def nobody_types() -> Iterator[None]:
    """A context in which nothing can be typed: `input()` fails at once instead of waiting for a person."""

    def nobody(prompt: object = "") -> str:
        raise EOFError("input() waits for somebody to type, but nobody does while your code is checked")

    kept, sys.stdin = sys.stdin, io.StringIO()
    asking, builtins.input = builtins.input, nobody
    try:
        yield
    finally:
        sys.stdin, builtins.input = kept, asking


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Endless after so many seconds, on every operating system: a second thread sends Ctrl-C to the main thread.

    (This stops Python code only, not a single endless call inside NumPy. Outside the main thread there is no limit.)
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lock, state = threading.Lock(), {"over": False, "fired": False}
    main = threading.main_thread().ident

    def fire() -> None:
        with lock:
            if not state["over"]:
                state["fired"] = True
                if hasattr(signal, "pthread_kill") and main is not None:
                    signal.pthread_kill(main, signal.SIGINT)  # also ends a call that waits, such as reading or sleeping
                else:
                    interrupt_main()

    timer = threading.Timer(seconds, fire)
    timer.daemon = True
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process would ignore Ctrl-C
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if state["fired"]:
            raise Endless from None
        raise
    finally:
        with lock:
            state["over"] = True
        timer.cancel()
        if state["fired"]:  # Ctrl-C was sent at the very end: let it arrive here and drop it
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.05)
        signal.signal(signal.SIGINT, before)
