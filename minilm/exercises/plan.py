"""All inputs of an exercise for one seed, with the outcomes of the reference and of each known mistake.

Every outcome is computed when it is first needed, and then kept.
"""

from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from itertools import combinations

import numpy as np

from minilm.exercises.compare import clearly_apart, matches
from minilm.exercises.running import Case, Outcome, Output, quiet, run, to_output
from minilm.exercises.spec import Exercise, Inputs, Pieces
from minilm.exercises.stub import reference

Work = Callable[[Case], Outcome]


class Plan:
    """The cases of an exercise, drawn from one seed. `expected` runs the reference, `singles` and `pairs` the mistakes."""

    def __init__(self, exercise: Exercise, seed: int):
        self.exercise, self.seed = exercise, seed
        rng = np.random.default_rng([exercise.number, seed])
        self.tiny = Case("tiny", "the tiny example", exercise.tiny())
        self.probes = [Case("probe", name, inputs) for name, inputs in exercise.probes(rng).items()]
        made = exercise.edges(rng) if exercise.edges else {}
        self.edges = [Case("edge", name, inputs) for name, inputs in made.items()]
        self.properties = {
            prop: [Case("property", name, inputs, group=prop.name) for name, inputs in prop.inputs(rng).items()]
            for prop in exercise.properties
        }
        made = exercise.gradient.inputs(rng) if exercise.gradient else {}
        self.gradients = [self.gradient_case(name, inputs, rng) for name, inputs in made.items()]
        self.reference: Pieces = {name: reference(dotted) for name, dotted in exercise.targets.items()}
        self.expected = worker(exercise, self.reference)
        self.slopes: dict[Case, Outcome] = {}

    def gradient_case(self, name: str, inputs: Inputs, rng: np.random.Generator) -> Case:
        """For autograd, draw an upstream gradient of the output's shape; for a gradient by hand it is one of the inputs."""
        if self.exercise.gradient and self.exercise.gradient.forward:
            return Case("gradient", name, inputs)
        return Case("gradient", name, inputs, upstream=rng.normal(size=self.first_output(inputs).shape))

    def first_output(self, inputs: Inputs) -> np.ndarray:
        made = {name: reference(dotted) for name, dotted in self.exercise.targets.items()}
        return run(self.exercise, made, Case("probe", "", inputs)).arrays[0]

    @property
    def compared(self) -> list[Case]:
        """The cases compared with the reference: the example, the probes, the edge cases, and gradients by autograd."""
        return [self.tiny, *self.probes, *self.edges, *(case for case in self.gradients if case.upstream is not None)]

    @property
    def cases(self) -> list[Case]:
        """All cases to run, in the same order in every process."""
        together = [case for group in self.properties.values() for case in group]
        return [self.tiny, *self.probes, *self.edges, *together, *self.gradients]

    def slope(self, case: Case) -> Outcome:
        """The gradients of a case by finite differences, of the reference or of the gradient's `forward` function."""
        if case not in self.slopes:
            self.slopes[case] = finite_differences(self.exercise, self.reference, case)
        return self.slopes[case]

    def right_answer(self, case: Case) -> Outcome:
        return self.slope(case) if case.kind == "gradient" else self.expected(case)

    @cached_property
    def singles(self) -> dict[tuple[str, ...], Work]:
        """Each known mistake as a function from a case to its outcome."""
        return {(key,): worker(self.exercise, self.exercise.mistake(key)) for key in self.exercise.wrong}

    @cached_property
    def pairs(self) -> dict[tuple[str, ...], Work]:
        """Each pair of mistakes made at once, if the spec can combine them."""
        if self.exercise.flawed is None:
            return {}
        keys = [key for key, wrong in self.exercise.wrong.items() if wrong.code is None]
        return {pair: worker(self.exercise, self.exercise.mistake(*pair)) for pair in combinations(keys, 2)}

    def matching(self, work: Work, cases: list[Case], among: dict[tuple[str, ...], Work]) -> list[tuple[str, ...]]:
        """The mistakes that have the same outcome as `work` on all cases and clearly differ from the right one on some.

        If `work` raises an error on every case, nothing can match.
        """
        if all(work(case).error for case in cases):
            return []
        return [
            keys
            for keys, theirs in among.items()
            if all(matches(self.exercise, work(case), theirs(case)) for case in cases)
            and any(clearly_apart(self.exercise, theirs(case), self.right_answer(case)) for case in cases)
        ]


@lru_cache(maxsize=128)
def plan_of(exercise: Exercise, seed: int) -> Plan:
    return Plan(exercise, seed)


def worker(exercise: Exercise, pieces: Pieces) -> Work:
    """A function that runs each case once and remembers its outcome."""
    done: dict[Case, Outcome] = {}

    def work(case: Case) -> Outcome:
        if case not in done:
            done[case] = run(exercise, pieces, case)
        return done[case]

    return work


def finite_differences(exercise: Exercise, pieces: Pieces, case: Case, h: float = 1e-5) -> Outcome:
    """(f(x + h) − f(x − h)) / 2h in float64 for each entry of each input in `wrt`; f is weighted by the upstream gradient."""
    gradient, inputs = exercise.gradient, dict(case.inputs)
    assert gradient is not None
    forward = gradient.forward  # None: the gradient is taken by autograd
    upstream = inputs.pop(gradient.upstream) if forward and gradient.upstream else case.upstream

    def f() -> float:
        value = forward(**inputs) if forward else exercise.call(pieces, inputs)
        while isinstance(value, tuple | list):
            value = value[0]
        value = to_output(value).array
        return float((value * (1.0 if upstream is None else to_output(upstream).array)).sum())

    outputs = {}
    names = list(exercise.returns) if forward else [f"∂/∂{name}" for name in gradient.wrt]
    with quiet():
        for name, of in zip(names, gradient.wrt):
            kept, slope = inputs[of], np.zeros(np.shape(inputs[of]))
            for index in entries(slope):
                values = []
                for step in (h, -h):
                    inputs[of] = kept.clone() if hasattr(kept, "clone") else np.array(kept, dtype=float)
                    inputs[of][index] += step
                    values.append(f())
                slope[index] = (values[0] - values[1]) / (2 * h)
            inputs[of] = kept
            outputs[name] = Output(slope, to_output(kept).kind)
    return Outcome(outputs)


def entries(array: np.ndarray) -> Iterator[tuple[int, ...]]:
    return iter(np.ndindex(array.shape))
