"""Run all cells of a notebook as IPython does, in the child process that grades it, and find the functions in what is left.

The shell is IPython's own, so its semantics are: a cell that fails keeps the effect of its earlier statements, and the next cell
runs. Only what needs a system, a screen or a person does nothing: shell commands, `%matplotlib`, `%pip`, unknown magics.
"""

import ast
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import SList
from traitlets import Type
from traitlets.config import Config

from minilm.errors import InputError
from minilm.exercises.catalogue import find
from minilm.exercises.grading.cells import names_bound, python_of, seems_to_define
from minilm.exercises.grading.withheld import EXTENSION, nothing_to_say

# magics whose effect is outside the namespace, or that wait for a person
IDLE = {
    *(
        "alias",
        "alias_magic",
        "autosave",
        "bookmark",
        "colors",
        "conda",
        "config",
        "debug",
        "doctest_mode",
        "ed",
        "edit",
    ),
    *(
        "gui",
        "hist",
        "history",
        "load",
        "loadpy",
        "logon",
        "logstart",
        "mamba",
        "man",
        "matplotlib",
        "micromamba",
        "more",
    ),
    *(
        "less",
        "notebook",
        "page",
        "pastebin",
        "pdb",
        "pdef",
        "pdoc",
        "pfile",
        "pinfo",
        "pinfo2",
        "pip",
        "pprint",
        "psearch",
    ),
    *("psource", "pycat", "quickref", "recall", "rehashx", "save", "sc", "store", "sx", "system", "uv", "xmode"),
    *("!", "bash", "cmd", "html", "HTML", "javascript", "js", "latex", "markdown", "perl", "pypy", "python", "python2"),
    *("python3", "ruby", "script", "sh", "svg", "SVG"),
}
ONCE = ("-n1", "-r1", "-q")  # %timeit runs the statement once: timing is not what is graded


class Compiler(CachingCompiler):
    """IPython's compiler, which also remembers the source of `%%time` cells and the number of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = 0
        self.blocks: dict[str, tuple[int, str]] = {}  # name of the code → (cell, its Python source)

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        name = super().cache(transformed_code, self.cell, raw_code)
        self.blocks.pop(name, None)
        self.blocks[name] = self.cell, transformed_code
        return name

    def __call__(self, source: Any, filename: str, symbol: str) -> Any:
        if isinstance(source, ast.AST) and filename.startswith("<timed "):
            text = ast.unparse(source)
            filename, source = self.cache(text), ast.parse(text, mode=symbol)
        return super().__call__(source, filename, symbol)


class Shell(InteractiveShell):
    """IPython without a terminal, a history, a system, or messages."""

    compiler_class = Type(Compiler)

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.after: dict[str, dict[str, Any]] = {}  # exercise → what its last %%exercise cell has defined

    def run_line_magic(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        if magic_name == "timeit":
            line = self.once(line)
        if magic_name in ("load_ext", "reload_ext", "unload_ext"):
            return self.extend() if line.strip() == EXTENSION else None
        if magic_name == "prun":
            magic_name = "time"
        if magic_name in IDLE or magic_name == "exercise" or self.find_line_magic(magic_name) is None:
            return None
        return super().run_line_magic(magic_name, line, _stack_depth + 1)

    def run_cell_magic(self, magic_name: str, line: str, cell: str) -> Any:
        if magic_name == "exercise":
            return self.exercise(line.strip(), cell)
        if magic_name == "prun":
            magic_name, line = "time", ""
        if magic_name == "timeit":
            line = self.once(line)
        if magic_name in IDLE or self.find_cell_magic(magic_name) is None:
            return None
        return super().run_cell_magic(magic_name, line, cell)

    def exercise(self, asked: str, cell: str) -> None:
        """`%%exercise softmax` runs the cell. Two exercises may ask for a function of the same name, so it is remembered."""
        before = dict(self.user_ns)
        self.run_cell(cell)
        with contextlib.suppress(InputError):
            entry = find(asked)
            self.after.pop(entry.name, None)
            self.after[entry.name] = {n: made for n, made in self.user_ns.items() if made is not before.get(n)}

    def once(self, line: str) -> str:
        """The options of %timeit, with one run instead of thousands."""
        magics = self.magics_manager.registry["ExecutionMagics"]
        options, statement = magics.parse_options(
            line, "n:r:tcp:qov:", posix=False, strict=False, preserve_non_opts=True
        )
        kept = [part for part in ("-o" * ("o" in options), f"-v{options['v']}" if "v" in options else "") if part]
        return " ".join([*ONCE, *kept, statement])

    def extend(self) -> None:
        """Stands for %load_ext minilm.exercises.notebook: nothing is checked while a notebook is graded."""
        self.push(dict.fromkeys(("check", "hint", "solution"), nothing_to_say))

    def system(self, *_: Any, **__: Any) -> None:
        self.user_ns["_exit_code"] = 0

    system_raw = system_piped = system

    def getoutput(self, *_: Any, **__: Any) -> SList:
        return SList([])

    def showtraceback(self, *_: Any, **__: Any) -> None:
        """Nobody reads it, and colouring it takes longer than most cells."""

    showsyntaxerror = showindentationerror = showtraceback

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no screen: `%pylab` fills the namespace and opens no window."""

    def ask_exit(self) -> None:
        """A cell that says `exit` ends there; the next one runs."""
        raise SystemExit


class Notebook:
    """A notebook that is run. `failed`: cell → what stopped it."""

    def __init__(self, home: Path):
        os.environ["IPYTHONDIR"] = str(home)
        sys.path.insert(0, str(home))
        self.home = home
        config = Config()
        config.HistoryManager.enabled = False
        self.shell = Shell.instance(config=config)
        self.compiler: Any = self.shell.compile
        self.cells: list[str] = []
        self.failed: dict[int, str] = {}

    @property
    def names(self) -> dict[str, Any]:
        return self.shell.user_ns

    def names_for(self, exercise: str) -> dict[str, Any]:
        """The names for one exercise: those at the end, unless a later `%%exercise` cell of another exercise has reused them."""
        order = list(self.shell.after)
        own = self.shell.after.get(exercise, {})
        later = order[order.index(exercise) + 1 :] if own else []
        return self.names | {name: own[name] for other in later for name in self.shell.after[other] if name in own}

    @property
    def blocks(self) -> dict[str, tuple[int, str]]:
        return self.compiler.blocks

    def run(self, cells: list[str], tell: Callable[[int, int, int, float], None]) -> None:
        """Run all cells in order. `tell(cell, of how many, slowest, its seconds)` is called before each of them."""
        self.cells, slowest, longest = cells, 0, 0.0
        sys.modules["__main__"] = self.shell.user_module
        for number, cell in enumerate(cells, 1):
            tell(number, len(cells), slowest, round(longest, 1))
            begun = time.process_time()
            self.compiler.cell = number
            done = self.shell.run_cell(cell, store_history=True)
            if error := done.error_before_exec or done.error_in_exec:
                self.failed[number] = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            if (took := time.process_time() - begun) > longest:
                slowest, longest = number, took

    def statements(self, targets: list[str]) -> list[tuple[int, ast.stmt]]:
        """The statements that made the targets and everything that they use: (cell, statement), in the order of the cells."""
        bound: dict[str, list[tuple[str, int, ast.stmt, ast.AST]]] = {}
        bodies: dict[str, tuple[int, list[ast.stmt]]] = {}
        for file, (cell, source) in self.blocks.items():
            tree = parsed(source)
            bodies[file] = cell, tree.body
            for i, statement in enumerate(tree.body):
                for name, node in names_bound(statement):
                    bound.setdefault(name, []).append((file, i, statement, node))
        found: dict[tuple[str, int], ast.stmt] = {}
        names = list(targets)
        for name in names:  # grows during the loop
            makers = bound.get(name, [])
            plain = [maker for maker in makers if isinstance(maker[3], ast.Name)]
            chosen = {(file, i): statement for file, i, statement, _ in [*plain, *makers[-1:]]}
            code = getattr(self.names.get(name), "__code__", None)
            if code is not None and code.co_filename in bodies:
                _, body = bodies[code.co_filename]
                lines = [
                    (i, s) for i, s in enumerate(body) if first_line(s) <= code.co_firstlineno <= (s.end_lineno or 0)
                ]
                chosen |= {(code.co_filename, i): statement for i, statement in lines}
            for key, statement in chosen.items():
                if key not in found:
                    found[key] = statement
                    names += sorted({n.id for n in ast.walk(statement) if isinstance(n, ast.Name)} - set(names))
        order = {file: place for place, file in enumerate(self.blocks)}
        return [(bodies[file][0], found[file, i]) for file, i in sorted(found, key=lambda key: (order[key[0]], key[1]))]

    def makers(self, name: str) -> list[ast.AST]:
        """All nodes of the code that has run that bind a name, at the top of a cell or inside an `if`, `for` …"""
        bodies = [parsed(source).body for _, source in self.blocks.values()]
        return [node for body in bodies for part in body for each, node in names_bound(part) if each == name]

    def missing(self, name: str) -> tuple[bool, str]:
        """Whether the notebook tries to define a name that is not there at the end, and a sentence about it."""
        trees = [(number, cell, python_of(cell)) for number, cell in enumerate(self.cells, 1)]
        broken = [n for n, cell, tree in trees if tree is None and seems_to_define(cell, name)]
        made = [
            n for n, _, tree in trees if tree and any(name == each for s in tree.body for each, _ in names_bound(s))
        ]
        cells = sorted({*broken, *made})
        if not cells:
            return False, f"the notebook defines no `{name}`"
        why = [f"cell {n} stops with {self.failed[n]}" for n in cells if n in self.failed]
        return True, f"at the end of the notebook there is no `{name}`" + (f": {'; '.join(why)}" if why else "")


def first_line(statement: ast.stmt) -> int:
    return min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])


def parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])
