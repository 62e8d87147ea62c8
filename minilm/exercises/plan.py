"""All inputs of an exercise for one seed, what the reference makes of them, and what each known mistake makes of them.

Everything is worked out when it is first asked for, and kept.
"""

from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from itertools import combinations

import numpy as np

from minilm.exercises.compare import far, matches
from minilm.exercises.running import Case, Outcome, Output, leaf, quiet, run
from minilm.exercises.spec import Exercise, Inputs, Pieces
from minilm.exercises.stub import reference

Work = Callable[[Case], Outcome]


class Plan:
    """The cases of an exercise, drawn from one seed. `expected` and `mistaken` are what they should and could give."""

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
        """Autograd needs an upstream of the output's shape; by hand it is one of the inputs."""
        if self.exercise.gradient.forward is not None:
            return Case("gradient", name, inputs)
        return Case("gradient", name, inputs, upstream=rng.normal(size=self.first_output(inputs).shape))

    def first_output(self, inputs: Inputs) -> np.ndarray:
        made = {name: reference(dotted) for name, dotted in self.exercise.targets.items()}
        return run(self.exercise, made, Case("probe", "", inputs)).arrays[0]

    @property
    def compared(self) -> list[Case]:
        """What is compared with the reference: the example, the probes and the edges, and gradients by autograd."""
        return [self.tiny, *self.probes, *self.edges, *(case for case in self.gradients if case.upstream is not None)]

    @property
    def cases(self) -> list[Case]:
        """All there is to run, in an order that is the same in every process."""
        together = [case for group in self.properties.values() for case in group]
        return [self.tiny, *self.probes, *self.edges, *together, *self.gradients]

    def slope(self, case: Case) -> Outcome:
        """The gradients of a case by finite differences: of the reference, or of the forward function it belongs to."""
        if case not in self.slopes:
            self.slopes[case] = finite_differences(self.exercise, self.reference, case)
        return self.slopes[case]

    def right_answer(self, case: Case) -> Outcome:
        return self.slope(case) if case.kind == "gradient" else self.expected(case)

    @cached_property
    def singles(self) -> dict[tuple[str, ...], Work]:
        """Each known mistake, as something that answers cases."""
        return {(key,): worker(self.exercise, self.exercise.mistake(key)) for key in self.exercise.wrong}

    @cached_property
    def pairs(self) -> dict[tuple[str, ...], Work]:
        """Two at once, where the spec can make them."""
        if self.exercise.flawed is None:
            return {}
        keys = [key for key, wrong in self.exercise.wrong.items() if wrong.code is None]
        return {pair: worker(self.exercise, self.exercise.mistake(*pair)) for pair in combinations(keys, 2)}

    def matching(self, work: Work, cases: list[Case], among: dict[tuple[str, ...], Work]) -> list[tuple[str, ...]]:
        """The mistakes that gave the same as `work` on all cases, and stand well away from the right answer on some.

        Code that stops on every case says nothing about what it would have given.
        """
        if all(work(case).error for case in cases):
            return []
        return [
            keys
            for keys, theirs in among.items()
            if all(matches(self.exercise, work(case), theirs(case)) for case in cases)
            and any(far(self.exercise, theirs(case), self.right_answer(case)) for case in cases)
        ]


@lru_cache(maxsize=128)
def plan_of(exercise: Exercise, seed: int) -> Plan:
    return Plan(exercise, seed)


def worker(exercise: Exercise, pieces: Pieces) -> Work:
    """Runs each case once and remembers what came of it."""
    done: dict[Case, Outcome] = {}

    def work(case: Case) -> Outcome:
        if case not in done:
            done[case] = run(exercise, pieces, case)
        return done[case]

    return work


def finite_differences(exercise: Exercise, pieces: Pieces, case: Case, h: float = 1e-5) -> Outcome:
    """(f(x + h) − f(x − h)) / 2h for each entry of each input `wrt`, f weighed by the upstream gradient.  float64."""
    gradient, inputs = exercise.gradient, dict(case.inputs)
    by_hand = gradient.forward is not None
    upstream = inputs.pop(gradient.upstream) if by_hand and gradient.upstream else case.upstream

    def f() -> float:
        value = gradient.forward(**inputs) if by_hand else exercise.call(pieces, inputs)
        while isinstance(value, tuple | list):
            value = value[0]
        value = leaf(value).array
        return float((value * (1.0 if upstream is None else leaf(upstream).array)).sum())

    outputs = {}
    names = exercise.returns if by_hand else [f"∂/∂{name}" for name in gradient.wrt]
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
            outputs[name] = Output(slope, leaf(kept).kind)
    return Outcome(outputs)


def entries(array: np.ndarray) -> Iterator[tuple[int, ...]]:
    return iter(np.ndindex(array.shape))
