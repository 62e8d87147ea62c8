"""The shapes and types in signatures, checked while the tests run, by jaxtyping and beartype.

A check takes some fifty times as long as a call, and a training run calls the same functions thousands of times. So of every function
the first calls in each test are checked, and after that every tenth one; with MINILM_EVERY_CALL=1 in the environment, all are.
beartype accepts an int where a float is expected, as Python itself does.
"""

import functools
import inspect
import os
import random
from collections.abc import Callable
from types import CodeType

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype._check.code import codemain
from jaxtyping import _decorator

FIRST, EVERY = 20, 10
FIRST_OF_INNER = 3  # a function inside a function is made anew, with its check, whenever that one is called
EVERY_CALL = os.environ.get("MINILM_EVERY_CALL") == "1"

# beartype checks one random entry of a long list. It would draw from Python's global generator, and the exercises would
# mistake its draws for the learner's. Therefore it gets its own generator.
codemain.getrandbits = random.Random(0).getrandbits

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
of_jaxtyping = jaxtyping.jaxtyped
calls: dict[CodeType, int] = {}  # in this test


def due(code: CodeType, inner: bool) -> bool:
    """Whether this call of the function is checked; counts it."""
    count = calls[code] = calls.get(code, 0) + 1
    return EVERY_CALL or count <= (FIRST_OF_INNER if inner else FIRST) or count % EVERY == 0


def jaxtyped(function: Callable | None = None, *, typechecker: Callable) -> Callable:
    """jaxtyping's decorator, whose import hook puts it before all functions and classes of minilm; here for some calls."""
    if function is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if not inspect.isfunction(function):  # a class, a property …: jaxtyping comes back for the functions in it
        return of_jaxtyping(function, typechecker=typechecker)
    if not function.__annotations__:
        return function
    code, inner, checked = function.__code__, "<locals>" in function.__qualname__, None

    @functools.wraps(function)
    def sometimes(*arguments, **options):
        nonlocal checked
        if not due(code, inner):
            return function(*arguments, **options)
        if checked is None:  # not before it is needed: this takes a millisecond
            checked = of_jaxtyping(function, typechecker=typechecker)
        return checked(*arguments, **options)

    return sometimes


def install() -> None:
    """Check minilm, which must not have been imported yet."""
    jaxtyping.jaxtyped = _decorator.jaxtyped = jaxtyped
    jaxtyping.install_import_hook("minilm", "typechecker.check")
