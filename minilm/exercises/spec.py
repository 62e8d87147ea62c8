"""What an exercise is: all of it in one object, `EXERCISE`, one a file in `minilm/exercises/specs/`.

Letters of the fields that are functions:  `rng` a numpy Generator, new for each seed · `Inputs` the arguments of one
call by name, in the order of the signature (values: arrays, tensors, numbers, lists, generators, modules …).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

Inputs = dict[str, Any]
Many = dict[str, Inputs]  # by a name that the learner reads: "a ragged batch"
Rng = np.random.Generator
Pieces = dict[str, Callable[..., Any]]  # what is tried: the target under its name, and what else the learner writes
Code = Callable[..., Any] | Mapping[str, Callable[..., Any]]  # one function, or one for each name
Section = tuple[str, str]  # ("04", "Why √D?"): the notebook's number and the section's heading, or "" for all of it


@dataclass(frozen=True)
class Wrong:
    """A mistake that people make.

    `name` completes "Looks like: …"; `question` makes one think and does not tell; `code` is the mistake in a function,
    or None where the exercise's `flawed` makes it from its key. Mistakes of one `family` cannot be told apart.
    """

    name: str
    question: str
    code: Code | None = None
    section: Section | None = None  # None: the exercise's
    family: str = ""


@dataclass(frozen=True)
class Property:
    """What must hold whatever the numbers are. `holds` gets the output of each of `inputs`, in order, as arrays.

    (An exercise with several outputs: a tuple of arrays for each of `inputs`.) It must not raise.
    """

    name: str  # completes "does not hold: …"
    inputs: Callable[[Rng], Many]
    holds: Callable[..., bool]


@dataclass(frozen=True)
class Gradient:
    """Gradients by finite differences, with a random upstream gradient.

    Without `forward`: the learner's function is differentiated by autograd, with respect to the tensors `wrt`; of several
    outputs the first. With `forward`: the learner's outputs *are* the gradients by `wrt`, in that order, and `forward`
    is the function they belong to; it takes the inputs without the one named `upstream` (None: its value is a number).
    """

    inputs: Callable[[Rng], Many]
    wrt: tuple[str, ...]
    forward: Callable[..., Any] | None = None
    upstream: str | None = None


@dataclass(frozen=True, eq=False)
class Exercise:
    """One exercise. Number, name, title and formulas are read from its file's name and first line (`catalogue.load`)."""

    target: str  # dotted: what the learner writes, where it stands in the library (or in the spec's own file)
    section: Section
    returns: dict[str, str]  # output → its axes in words, "batch query feature"; "" for a number
    tiny: Callable[[], Inputs]  # one call that fits on the screen, fixed
    probes: Callable[[Rng], Many]
    right: dict[str, Code]  # at least three independent right styles, by name
    wrong: dict[str, Wrong]  # by a short key
    hints: tuple[str, str, str]  # concept → plan with shapes → pseudo-code
    task: str = ""  # what stands in the head of the learner's file
    steps: tuple[str, ...] = ()  # the guided stub's numbered comments; () takes those of the library's body
    docstring: str = ""  # instead of the library's, where that gives too much away
    needs: tuple[str, ...] = ()  # names of exercises that come before
    given: tuple[str, ...] = ()  # dotted: pieces that are ready, and imported in the stub
    forbidden: tuple[str, ...] = ()  # ends of dotted names that may not be called: "softmax", "linalg.norm"
    edges: Callable[[Rng], Many] | None = None
    properties: tuple[Property, ...] = ()
    gradient: Gradient | None = None
    flawed: Callable[..., Any] | None = None  # the function with a keyword `wrong`, a set of keys: makes pairs possible
    also: tuple[str, ...] = ()  # dotted: further functions that the learner writes in the same file
    keep: tuple[str, ...] = ()  # methods that stay as they are, where the target is a class
    run: Callable[..., Any] | None = None  # (what the learner wrote, **inputs) → outputs; None calls it with the inputs
    atol: float = 1e-8
    rtol: float = 1e-8
    separation: float = 100.0  # how many tolerances a mistake must be away from the right answer to be named
    number: int = 0
    name: str = ""
    title: str = ""
    formulas: tuple[str, ...] = field(default=())

    @property
    def targets(self) -> dict[str, str]:
        """Name → dotted path of all that the learner writes; the first is `target`."""
        return {dotted.rpartition(".")[2]: dotted for dotted in (self.target, *self.also)}

    def pieces(self, code: Code) -> Pieces:
        """One function or several as pieces."""
        return dict(code) if isinstance(code, Mapping) else {next(iter(self.targets)): code}

    def mistake(self, *keys: str) -> Pieces:
        """The pieces with that mistake in them, or with several at once (only with `flawed`)."""
        if len(keys) == 1 and (code := self.wrong[keys[0]].code) is not None:
            return self.pieces(code)
        if self.flawed is None or any(self.wrong[key].code is not None for key in keys):
            raise ValueError(f"{self.name}: {', '.join(keys)} cannot be made: there is neither code nor `flawed`.")
        return self.pieces(partial(self.flawed, wrong=frozenset(keys)))

    def call(self, pieces: Pieces, inputs: Inputs) -> Any:
        """The outputs of `pieces` as they come."""
        if self.run is None:
            return pieces[next(iter(self.targets))](*inputs.values())
        made = SimpleNamespace(**pieces) if self.also else pieces[next(iter(self.targets))]
        return self.run(made, **inputs)


def where(section: Section) -> str:
    """As it stands in a message: notebook 04, "Why √D?"."""
    number, heading = section
    return f'notebook {number}, "{heading}"' if heading else f"notebook {number}"
