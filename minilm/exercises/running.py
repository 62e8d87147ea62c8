"""Run the learner's code once: copies of the inputs go in, plain NumPy arrays come out, and errors become part of the outcome.

An `Outcome` contains only data, so it may also come from another process: the code can run in one and be judged in another.
"""

import copy
import random
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minilm.exercises.spec import Exercise, Inputs, Pieces

ALL_OF_IT = "all of it"  # of NotImplementedError: nothing that the stub left out is written
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, eq=False)
class Case:
    """The inputs of one call. `kind` is tiny, probe, property, gradient or edge; `group` is the name of the property."""

    kind: str
    name: str
    inputs: Inputs
    upstream: np.ndarray | None = None  # of a gradient by autograd
    group: str = ""


@dataclass(frozen=True)
class Output:
    """One array, and what it was before the conversion: "a torch tensor", "a NumPy array", "a number", "a list" …"""

    array: np.ndarray
    kind: str


@dataclass(frozen=True)
class Outcome:
    """The result of a case: its outputs by name, or an error."""

    outputs: dict[str, Output] = field(default_factory=dict)
    error: str = ""  # "ValueError: operands could not be broadcast together"
    line: str = ""  # the line in the learner's file: "line 12: return e / e.sum(axis=1)"
    changed: tuple[str, ...] = ()  # the inputs that the call has changed
    unsteady: bool = False  # a second call with the same inputs returned something else
    drew: str = ""  # the global random generators that it used

    @property
    def arrays(self) -> list[np.ndarray]:
        return [output.array for output in self.outputs.values()]


def run(exercise: Exercise, pieces: Pieces, case: Case) -> Outcome:
    """Call `pieces` with copies of the case's inputs. Errors become part of the outcome; only Ctrl-C is raised."""
    inputs = fresh(case.inputs)
    before = generators() if case.kind == "tiny" else {}
    try:
        with quiet():
            if case.upstream is not None:
                return Outcome(differentiate(exercise, pieces, case, inputs))
            value = exercise.call(pieces, inputs)
            now = generators() if case.kind == "tiny" else {}
            outputs = flatten(value, tuple(exercise.returns))
            changed = tuple(name for name, value in inputs.items() if not same(value, case.inputs[name]))
            if case.kind != "tiny":
                return Outcome(outputs, changed=changed)
            drew = [name for name, state in before.items() if state != now[name]]
            again = flatten(exercise.call(pieces, fresh(case.inputs)), tuple(exercise.returns))
            steady = same([o.array for o in outputs.values()], [o.array for o in again.values()])
            return Outcome(outputs, changed=changed, unsteady=not steady, drew=", ".join(drew))
    except (Exception, SystemExit) as error:
        sentence = " ".join(str(error).split())
        if isinstance(error, NotImplementedError) and not sentence:
            sentence = missing(exercise, pieces)
        return Outcome(error=f"{type(error).__name__}: {sentence}"[:160], line=line_of(error, pieces))


def missing(exercise: Exercise, pieces: Pieces) -> str:
    """The functions and methods that still raise NotImplementedError, by name; ALL_OF_IT if no other one is written."""
    codes = {}
    for name, piece in pieces.items():
        if isinstance(piece, type):
            for method, function in vars(piece).items():
                if method not in exercise.keep:
                    codes[f"`{name}.{method}`"] = getattr(function, "__code__", None)
        else:
            codes[f"`{name}`"] = getattr(piece, "__code__", None)
    known = {name: code for name, code in codes.items() if code is not None}
    still = [name for name, code in known.items() if "NotImplementedError" in code.co_names]
    return ALL_OF_IT if len(still) == len(known) else " and ".join(still)


def prepare(exercise: Exercise) -> None:
    """Make torch load now what it would otherwise load at the first gradient.

    A check that takes too long is interrupted. If that happened during an import, the library would be half loaded, and
    every later gradient in this process would fail.
    """
    if exercise.gradient and exercise.gradient.forward is None:
        import torch

        x = torch.ones(1, requires_grad=True)
        torch.autograd.grad(x * 1, x, torch.ones(1))


def differentiate(exercise: Exercise, pieces: Pieces, case: Case, inputs: Inputs) -> dict[str, Output]:
    """The gradients of the first output by autograd, with the case's upstream. Raises TypeError if none can flow back."""
    import torch

    assert exercise.gradient is not None and case.upstream is not None
    wrt = exercise.gradient.wrt
    for name in wrt:
        inputs[name].requires_grad_()
    value = exercise.call(pieces, inputs)
    while isinstance(value, tuple | list | dict):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    if not isinstance(value, torch.Tensor) or not value.requires_grad:
        raise TypeError("no gradient can flow back from the output: was it detached, or converted to a number?")
    upstream = torch.from_numpy(case.upstream).to(value.dtype).reshape(value.shape)
    found = torch.autograd.grad(value, [inputs[name] for name in wrt], upstream, allow_unused=True)
    filled = [torch.zeros_like(inputs[name]) if g is None else g for name, g in zip(wrt, found)]
    return {f"∂/∂{name}": to_output(g) for name, g in zip(wrt, filled)}


def flatten(value: Any, names: Sequence[str]) -> dict[str, Output]:
    """Outputs by name: a tuple's in the order of `names`, a dict's under its keys, and nested outputs under dotted names."""
    if isinstance(value, dict):
        parts = {str(key): part for key, part in value.items()}
    elif isinstance(value, tuple | list) and (len(names) > 1 or any(is_array(part) for part in value)):
        known = [*names[: len(value)]] if len(names) > 1 else []
        parts = dict(zip([*known, *(ORDINALS[len(known) :]), *map(str, range(len(value)))], value))
    else:
        return {names[0] if names else "output": to_output(value)}
    out: dict[str, Output] = {}
    for name, part in parts.items():
        nested = isinstance(part, dict) or (isinstance(part, tuple | list) and any(is_array(p) for p in part))
        deeper = flatten(part, ()) if nested else {"": to_output(part)}
        out |= {f"{name}.{below}" if below else name: each for below, each in deeper.items()}
    return out


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or is_tensor(value)


def is_tensor(value: Any) -> bool:
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def to_output(value: Any) -> Output:
    if is_tensor(value):
        return Output(value.detach().cpu().numpy().copy(), "a torch tensor")
    if isinstance(value, np.ndarray):
        return Output(value.copy() if value.dtype != object else value.astype(str), "a NumPy array")
    if isinstance(value, bool | int | float | complex | np.generic):
        return Output(np.asarray(value), "a number")
    if isinstance(value, list | tuple):
        try:
            array = np.asarray(value)
        except ValueError:  # rows of different lengths
            array = np.asarray([repr(part) for part in value])
        return Output(array if array.dtype != object else array.astype(str), f"a {type(value).__name__}")
    return Output(np.asarray(str(value)), "None" if value is None else f"of the type {type(value).__name__}")


def fresh(value: Any) -> Any:
    """A copy that can be written to, drawn from and differentiated without any effect on the original."""
    if isinstance(value, dict):
        return {key: fresh(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [fresh(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if is_tensor(value):
        return value.detach().clone()
    if "torch" in sys.modules and isinstance(value, sys.modules["torch"].Generator):
        twin = sys.modules["torch"].Generator()
        return twin.set_state(value.get_state())
    return value if callable(value) and not hasattr(value, "parameters") else copy.deepcopy(value)


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit; NaN equals NaN. Values that are not numbers, text, arrays, lists or tuples count as equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if is_tensor(a) and is_tensor(b):
        a, b = a.detach().numpy(), b.detach().numpy()
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")
    return a == b if isinstance(a, int | float | str) and isinstance(b, int | float | str) else True


def generators() -> dict[str, Any]:
    """The states of the global random generators, which all code shares."""
    numpys = np.random.get_state(legacy=False)["state"]
    states = {"Python's random": random.getstate(), "numpy.random": (numpys["key"].tobytes(), numpys["pos"])}
    torch = sys.modules.get("torch")
    return states | ({"torch": torch.random.get_rng_state().numpy().tobytes()} if torch else {})


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings: if something overflows, the checks report it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def line_of(error: BaseException, pieces: Pieces) -> str:
    """The last line of the learner's own file that led to the error."""
    files = {getattr(getattr(piece, "__code__", None), "co_filename", None) for piece in pieces.values()}
    files |= {
        getattr(sys.modules.get(piece.__module__), "__file__", None)
        for piece in pieces.values()
        if isinstance(piece, type)
    }
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f"line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
