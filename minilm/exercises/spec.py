"""What an exercise consists of. Each file in `minilm/exercises/specs/` defines one as the object `EXERCISE`.

In the fields that are functions, `rng` is a NumPy generator, a new one for each seed. `Inputs` are the arguments of one call
by name, in the order of the signature: arrays, tensors, numbers, lists, generators, modules …
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

Inputs = dict[str, Any]
Many = dict[str, Inputs]  # by a name that the learner reads, such as "a ragged batch"
Rng = np.random.Generator
Pieces = dict[str, Callable[..., Any]]  # the functions or classes to check, by name
Code = Callable[..., Any] | Mapping[str, Callable[..., Any]]  # one function, or one per name
Section = tuple[str, str]  # ("04", "Why √D?"): the notebook's number and the section's heading, or "" for all of it


@dataclass(frozen=True)
class Wrong:
    """A mistake that people make.

    `name` completes "Looks like: …"; `question` makes the learner think without giving the answer. `code` is a function with
    the mistake; None if the exercise's `flawed` makes it from its key. Mistakes of one `family` cannot be told apart.
    """

    name: str
    question: str
    code: Code | None = None
    section: Section | None = None  # None: the section of the exercise
    family: str = ""


def listed(
    text: str,
    code: Callable[[str], Code | None] | None = None,
    section: Section | None = None,
    families: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Wrong]:
    """Mistakes from a text that reads `key · what it looks like ·`, and on the next line the question.

    `code(key)` makes the function with the mistake; without it, the exercise's `flawed` does. `families` are by key.
    """
    found = re.findall(r"(\w+) · (.+) ·\n +(.+)", text)
    return {
        key: Wrong(name, question, code and code(key), section, families.get(key, "")) for key, name, question in found
    }


@dataclass(frozen=True)
class Property:
    """What must hold for all inputs. `holds` gets one array for each of `inputs`, in order: the output for these inputs.

    If the exercise has several outputs, it gets one tuple of arrays for each of `inputs`. `holds` must not raise.
    """

    name: str  # completes "this property does not hold: …"
    inputs: Callable[[Rng], Many]
    holds: Callable[..., bool]


@dataclass(frozen=True)
class Gradient:
    """Gradients by finite differences, with a random upstream gradient.

    Without `forward`, the learner's first output is differentiated by autograd with respect to the tensors `wrt`. With
    `forward`, the learner's outputs *are* the gradients with respect to `wrt`, in that order, of the function `forward`. It
    takes all inputs except the one named `upstream`; None means that `forward` returns a number.
    """

    inputs: Callable[[Rng], Many]
    wrt: tuple[str, ...]
    forward: Callable[..., Any] | None = None
    upstream: str | None = None


@dataclass(frozen=True, eq=False)
class Exercise:
    """One exercise. `catalogue.load` reads the last six fields from its file's name and first line."""

    target: str  # dotted path of what the learner writes, in the library or in the spec's own file
    section: Section
    returns: dict[str, str]  # output → the names of its axes, "batch query feature"; "" for a number
    tiny: Callable[[], Inputs]  # one fixed call that fits on the screen
    probes: Callable[[Rng], Many]
    right: dict[str, Code]  # at least three independent correct solutions, by name
    wrong: dict[str, Wrong]  # the known mistakes, by a short key
    hints: tuple[str, str, str]  # concept → plan with shapes → pseudo-code
    task: str = ""  # shown at the top of the learner's file
    steps: tuple[str, ...] = ()  # numbered comments of the guided stub; () takes the comments of the library's body
    docstring: str = ""  # replaces the library's if that gives too much away
    needs: tuple[str, ...] = ()  # names of exercises that should be solved before
    given: tuple[str, ...] = ()  # dotted paths of ready functions that the stub imports
    forbidden: tuple[str, ...] = ()  # endings of names that may not be called: "softmax", "linalg.norm"
    edges: Callable[[Rng], Many] | None = None
    properties: tuple[Property, ...] = ()
    gradient: Gradient | None = None
    flawed: Callable[..., Any] | None = None  # the function with a keyword `wrong`, a set of keys; makes pairs possible
    also: tuple[str, ...] = ()  # dotted paths of further functions that the learner writes in the same file
    keep: tuple[str, ...] = ()  # methods that the stub keeps, if the target is a class
    shown_first: tuple[str, ...] = ()  # the outputs that are computed before the others: messages look at them first
    run: Callable[..., Any] | None = None  # (what the learner wrote, **inputs) → outputs; None calls it with the inputs
    atol: float = 1e-8
    rtol: float = 1e-8
    separation: float = 100.0  # a mistake is named only if it is this many tolerances from the right answer
    number: int = 0
    name: str = ""
    title: str = ""
    formulas: tuple[str, ...] = field(default=())
    minutes: int = 0  # an estimate for somebody who has read the section
    difficulty: str = ""  # easy: one formula · medium: several steps or shapes · hard: a derivation or a recursion

    @property
    def targets(self) -> dict[str, str]:
        """Name → dotted path of everything that the learner writes; the first is `target`."""
        return {dotted.rpartition(".")[2]: dotted for dotted in (self.target, *self.also)}

    def pieces(self, code: Code) -> Pieces:
        """One function, or several by name, as pieces."""
        return dict(code) if isinstance(code, Mapping) else {next(iter(self.targets)): code}

    def mistake(self, *keys: str) -> Pieces:
        """The pieces with one mistake in them, or with several at once, which needs `flawed`."""
        if len(keys) == 1 and (code := self.wrong[keys[0]].code) is not None:
            return self.pieces(code)
        if self.flawed is None or any(self.wrong[key].code is not None for key in keys):
            raise ValueError(f"{self.name}: {', '.join(keys)} needs `code`, or the exercise needs `flawed`.")
        return self.pieces(partial(self.flawed, wrong=frozenset(keys)))

    def call(self, pieces: Pieces, inputs: Inputs) -> Any:
        """Call `pieces` and return the outputs unchanged."""
        if self.run is None:
            return pieces[next(iter(self.targets))](*inputs.values())
        made = SimpleNamespace(**pieces) if self.also else pieces[next(iter(self.targets))]
        return self.run(made, **inputs)


def where(section: Section) -> str:
    """A section as messages name it: notebook 04, "Why √D?"."""
    number, heading = section
    return f'notebook {number}, "{heading}"' if heading else f"notebook {number}"
