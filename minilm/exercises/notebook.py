"""Exercises in a notebook:  %load_ext minilm.exercises.notebook

    %exercise softmax      writes the stub into the next cell
    %%exercise softmax     runs the cell and checks the function that it defines
    check("softmax")       checks the notebook's function `softmax`; hint("softmax") and solution("softmax") help

The engine is the same as that of `minilm exercise`; here, a try is a failed check of new code.
"""

import ast
import functools
import inspect
from collections.abc import Callable
from typing import Any

from minilm.errors import InputError
from minilm.exercises.catalogue import find, load, next_entry
from minilm.exercises.hints import next_hint
from minilm.exercises.learner import check_found, find_pieces
from minilm.exercises.progress import TRIES
from minilm.exercises.report import NOT_WRITTEN, Report
from minilm.exercises.spec import Exercise, Pieces
from minilm.exercises.stub import solution as solution_of, stub

tries: dict[str, set[str]] = {}  # exercise → the versions that failed
passed: set[str] = set()
mistakes: dict[str, str] = {}  # exercise → what the last check has found
hints: dict[str, tuple[str, int]] = {}  # exercise → the mistake that the last hint was about, and how many general ones


def check(name: str, *functions: Any) -> Report:
    """Check the notebook's function of that name, or the given functions; print the report and return it.

    Raises InputError if there is no such exercise, or if no function is given outside a notebook.
    """
    exercise = load(find(name).name)
    names = {f.__name__: f for f in functions} if functions else notebook_names()
    source = "\n".join(source_of(names[target]) for target in exercise.targets if target in names)
    report = check_found(exercise, lambda: pieces_among(exercise, names, source))
    remember(exercise.name, source, report)
    following = next_entry(exercise.name)
    print(report.text(ask='hint("{}")', following=f"%exercise {following.name}" if following else ""))
    return report


def pieces_among(exercise: Exercise, names: dict[str, Any], source: str) -> Pieces:
    """Do what `learner.load` does, but for names that exist already. Raises Unready."""
    tree = ast.parse(source)
    known = {name: names[name] for name in exercise.targets if name in names}
    for name in known.keys() - {n.name for n in tree.body if hasattr(n, "name")}:
        tree.body += ast.parse(f"{name} = None").body  # a lambda, or a function whose source is unknown
    return find_pieces(exercise, known, tree, "the notebook")


def remember(name: str, source: str, report: Report) -> None:
    mistakes[name] = report.asked
    if report.passed:
        passed.add(name)
    elif report.title != NOT_WRITTEN:
        tries.setdefault(name, set()).add(source)


def hint(name: str) -> None:
    """Print a hint about the mistake that the last check has found, or the next of the three general hints."""
    exercise = load(find(name).name)
    shown = hints.get(exercise.name, ("", 0))
    lines, hinted, count = next_hint(exercise, mistakes.get(exercise.name, ""), *shown)
    hints[exercise.name] = hinted, count
    print("\n".join(lines))


def solution(name: str) -> None:
    """Print the library's own source, after a pass or three failed tries."""
    exercise = load(find(name).name)
    count = len(tries.get(exercise.name, ()))
    if exercise.name in passed or count >= TRIES:
        print(solution_of(exercise))
    else:
        print(
            f'The solution is shown after a pass or {TRIES} failed tries; so far {count}. hint("{exercise.name}") helps.'
        )


def source_of(function: Any) -> str:
    """A function's source as it stands in its cell; "" if Python does not know it."""
    try:
        return inspect.cleandoc("\n" + inspect.getsource(function))
    except (OSError, TypeError):
        return ""


def notebook_names() -> dict[str, Any]:
    from IPython import get_ipython

    if (shell := get_ipython()) is None:
        raise InputError("this is not a notebook: also pass the function to check, as in check('softmax', softmax).")
    return shell.user_ns


def load_ipython_extension(shell: Any) -> None:
    """Called by %load_ext: adds the two magics, and the functions check, hint and solution."""

    def exercise(line: str, cell: str | None = None) -> None:
        try:
            if not line.strip():
                raise InputError("say which exercise: %%exercise softmax.")
            name = find(line.strip()).name
            if cell is None:
                shell.set_next_input(f"%%exercise {name}\n{stub(load(name))}")
            elif shell.run_cell(cell, store_history=False).success:
                check(name)
        except InputError as error:
            print(error)

    shell.register_magic_function(exercise, magic_kind="line_cell", magic_name="exercise")
    shell.push({function.__name__: in_one_sentence(function) for function in (check, hint, solution)})


def in_one_sentence(function: Callable) -> Callable:
    """Print an InputError as one sentence: in a notebook, a wrong name should not cause a traceback."""

    @functools.wraps(function)
    def spoken(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except InputError as error:
            print(error)

    return spoken
