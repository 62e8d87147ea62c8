r"""The learning rate over a run: warm-up, cosine, and the schedule of 2017.  F03.  20 minutes, easy."""

import math
from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong, listed


def progress(n: int, N: int) -> float:
    r"""How much of a run is over at step n = 1 … N: (n − ½)/N, the MIDDLE of the step.  F03.

    So neither the first nor the last step has the learning rate 0.
    """
    return (n - 0.5) / N


def noam(n: int | float, C: int, warmup: int) -> float:
    r"""C^(−½) · min(n^(−½), n · warmup^(−3/2)) for step n = 1, 2, 3 …: it rises in a straight line, then falls as 1/√n.  F03.

    `C` is the width of the model, `warmup` a number of steps. Source: Vaswani et al. (2017), §5.3.
    """
    rising, falling = n * warmup**-1.5, n**-0.5
    return C**-0.5 * min(rising, falling)


def flawed_cosine(p, w=0.05, floor=0.0, wrong=frozenset()):
    if p < w or ("at_0" in wrong and p <= w):
        start = floor if "warm_from_floor" in wrong else 0.0
        if wrong & {"warm_squared", "warm_cosine", "warm_by_1"}:
            share = {"warm_squared": (p / w) ** 2, "warm_by_1": p}
            return share.get(*wrong) if "warm_cosine" not in wrong else 0.5 * (1 - math.cos(math.pi * p / w))
        return 1.0 if "no_warmup" in wrong else start + (1 - start) * p / w
    u = p if "total" in wrong else (p - w) if "not_stretched" in wrong else (p - w) / (1 - w)
    half = 1 - u if "line" in wrong else 0.5 * (1 + math.cos((2 * math.pi if "whole" in wrong else math.pi) * u))
    for key, other in {
        "no_pi": 0.5 * (1 + math.cos(u)),
        "squared": math.cos(math.pi / 2 * u) ** 4,
        "minus": 0.5 * (1 - math.cos(math.pi * u)),
        "half_wave": max(math.cos(math.pi * u), 0.0),
    }.items():
        half = other if key in wrong else half
    if "steady" in wrong:
        return 1.0
    if "no_half" in wrong:
        half = 1 + math.cos(math.pi * u)
    if "sine" in wrong:
        half = math.cos(math.pi / 2 * u)
    if "no_floor" in wrong:
        return half
    if "clipped" in wrong:
        return max(floor, half)
    if "floor_twice" in wrong:
        return floor + (1 - 2 * floor) * half
    return floor + (half if "too_high" in wrong else (1 - floor) * half)


def flawed_noam(n, C, warmup, wrong=frozenset()):
    n = n - 1 if "noam_from_0" in wrong else n
    both = n**-0.5, n * warmup ** (-0.5 if "noam_power" in wrong else -1.5)
    for key, other in {
        "noam_linear": (1 / n, n * warmup**-2.0),
        "noam_no_warmup": (n**-0.5, math.inf),
        "noam_line": (warmup**-0.5, n * warmup**-1.5),
        "noam_squared": (n**-0.5, n**2 * warmup**-2.5),
    }.items():
        both = other if key in wrong else both
    if "noam_sum" in wrong:
        return C**-0.5 * sum(both)
    scale = 1.0 if "noam_width" in wrong else C**0.5 if "noam_root" in wrong else C**-0.5
    scale = 1 / C if "noam_c" in wrong else scale
    return scale * (max(both) if "noam_max" in wrong else min(both))


def cosine_by_sine(p, w=0.05, floor=0.0):
    """½(1 + cos πu) is cos²(πu/2) = 1 − sin²(πu/2)."""
    if w and p <= w:
        return p / w
    return 1 - (1 - floor) * math.sin(0.5 * math.pi * (p - w) / (1 - w)) ** 2


def cosine_by_table(p, w=0.05, floor=0.0):
    """Compute both curves and choose the one that applies."""
    up = p / w if w > 0 else np.inf
    u = np.clip((p - w) / (1 - w), 0, 1)
    return float(np.where(p < w, up, np.interp(np.cos(np.pi * u), [-1, 1], [floor, 1.0])))


def cosine_by_complex_numbers(p, w=0.05, floor=0.0):
    turned = np.exp(1j * np.pi * max(p - w, 0) / (1 - w))
    return np.minimum(p / w, 1) if p < w else (1 + floor) / 2 + (1 - floor) / 2 * turned.real


def noam_in_two_cases(n, C, warmup):
    return (n / warmup**1.5 if n < warmup else 1 / math.sqrt(n)) / math.sqrt(C)


def noam_by_logarithms(n, C, warmup):
    return math.exp(-0.5 * math.log(C) - max(0.5 * math.log(n), 1.5 * math.log(warmup) - math.log(n)))


def noam_from_the_peak(n, C, warmup):
    peak = 1 / math.sqrt(C * warmup)
    return peak * min(n / warmup, math.sqrt(warmup / n))


def a_run(made, N, w, floor, C, warmup, p):
    """Progress and both learning rates at each of N steps, and the cosine at the points `p`."""
    steps = range(1, N + 1)
    # with a NumPy number, 0 to the power of −½ is infinite instead of an error
    return {
        "progress": np.array([made.progress(n, N) for n in steps], dtype=float),
        "cosine": np.array([made.warmup_cosine(each, w, floor) for each in p], dtype=float),
        "learning rate": np.array([made.warmup_cosine(made.progress(n, N), w, floor) for n in steps], dtype=float),
        "noam": np.array([made.noam(np.float64(n), C, warmup) for n in steps], dtype=float),
    }


def run_of(rng, N, w, floor, C, warmup):
    p = np.concatenate([[0.0, w / 2, w, 1.0], np.sort(rng.random(4))])
    return {"N": N, "w": w, "floor": floor, "C": C, "warmup": warmup, "p": p}


def edges(rng):
    return {
        "no warm-up": run_of(rng, 6, 0.0, 0.1, 16, 1),
        "a single step": run_of(rng, 1, 0.5, 0.2, 64, 3),
        "a long run, a long warm-up": run_of(rng, 40, 0.9, 0.05, 100, 25),
        "a floor as high as the peak": run_of(rng, 5, 0.4, 1.0, 9, 2),
    }


def longer(rng):
    """Twice as many steps give the same curve, stretched: two of its steps surround each step of the short run."""
    short = run_of(rng, 5, 0.3, 0.1, 16, 4)
    return {"a run": short, "a run of twice the steps": {**short, "N": 10}}


def mistake(key, name, question):
    wrong = frozenset({key})
    cosine = partial(flawed_cosine, wrong=wrong)  # also accepts p above 1, which the library refuses
    second = partial(flawed_noam, wrong=wrong) if key.startswith("noam_") else noam
    return Wrong(name, question, {"warmup_cosine": cosine, "progress": PROGRESS.get(key, progress), "noam": second})


PROGRESS = {
    "from_0": lambda n, N: (n - 1) / N,
    "from_1": lambda n, N: n / N,
    "one_less": lambda n, N: (n - 1) / (N - 1) if N > 1 else 0.0,
    "zero_based": lambda n, N: (n + 0.5) / N,
    "one_more": lambda n, N: n / (N + 1),
    "half_once": lambda n, N: n / N - 0.5,
    "remaining": lambda n, N: 1 - (n - 0.5) / N,
}
MORE = """  key · what it looks like · a question
warm_squared · the warm-up rises as a square ·
    the docstring asks for a straight line up to p = w: what should the value be at p = w/2?
warm_cosine · the warm-up is half a cosine as well ·
    the docstring asks for a straight line up to p = w: which curve does yours follow there?
warm_by_1 · the warm-up is p itself, not divided by w ·
    what should the value be just before p = w?
no_pi · π is missing inside the cosine ·
    at which angle does the cosine reach −1?
squared · the curve is the square of what it should be ·
    what should the value be in the middle, at u = ½, with the floor 0?
minus · the cosine rises instead of falling ·
    what should the value be at p = w, and what at p = 1?
half_wave · the cosine is cut off at 0, so the second half of the run has the learning rate of the floor ·
    what should the value be at u = ½: half of the way down, or already at the bottom?
steady · after the warm-up, the learning rate does not fall ·
    which curve does the docstring ask for after the warm-up?
floor_twice · the floor is subtracted twice, so the peak is below 1 ·
    what should the value be at p = w?
one_more · the steps are divided by N + 1 ·
    if N = 1, where in the run is the middle of its only step?
half_once · half of the run is subtracted instead of half a step ·
    can the progress be negative?
remaining · it is the share that is still to come ·
    is the progress small at the first step or at the last?
noam_linear · the second curve falls as 1/n, not as 1/√n ·
    which power of n does the docstring give?
noam_no_warmup · the second schedule has no warm-up ·
    which of the two terms is the smaller one at n = 1?
noam_line · after the warm-up, the rate stays the same ·
    which of the two terms should fall?
noam_squared · the warm-up of the second schedule rises as a square ·
    which power of n does the docstring give for the warm-up?
noam_sum · the two terms are added instead of taking the smaller one ·
    the docstring has a function with two arguments in its middle: which one?
noam_c · it is divided by C instead of √C ·
    which power of C does the docstring give?
"""
OFF = "if N = 2, where in the run are the middles of the two steps?"
FLOOR = "what should the value be at p = w, and what at p = 1?"
REST = "the cosine begins at p = w and ends at p = 1: what is u at these two points?"
WRONG = {
    "total": ("the cosine runs over the whole run, not over the part after the warm-up", REST),
    "not_stretched": ("u is p − w, which never reaches 1", REST),
    "whole": ("it is a whole wave, down and up again", "at which angle does the cosine first reach −1?"),
    "no_half": (
        "the factor ½ is missing",
        "how much is 1 + cos 0, and what share of the peak should the curve have there?",
    ),
    "sine": ("it is a quarter of a wave, cos(πu/2)", "how fast should the learning rate fall at the very end?"),
    "line": ("it goes down in a straight line", "which curve does the docstring ask for after the warm-up?"),
    "no_floor": ("the curve ends at 0, because the floor is not added", FLOOR),
    "clipped": ("the curve is cut off at the floor instead of reaching it only at the end", FLOOR),
    "too_high": ("the floor is added to a cosine of full height, so the peak is above 1", FLOOR),
    "no_warmup": ("there is no warm-up", "what should the value be at p = 0?"),
    "warm_from_floor": ("the warm-up begins at the floor instead of at 0", "what should the value be at p = 0?"),
    "at_0": ("without a warm-up, 0 is divided by 0", "if w = 0 and p = 0, which of the two formulas applies?"),
    "from_0": ("step n is placed at its start, (n − 1)/N, so the first step has the learning rate 0", OFF),
    "from_1": ("step n is placed at its end, n/N", OFF),
    "one_less": ("the steps are spread from 0 to 1, both included", OFF),
    "zero_based": (
        "the steps are assumed to be counted from 0",
        "n = N is the last step: where in the run is its middle?",
    ),
    "noam_max": (
        "max is used instead of min, so the curve falls first and then rises",
        "at n = 1, which of the two terms is the smaller one?",
    ),
    "noam_from_0": (
        "step n is treated as n − 1, so the first step takes 0 to the power of −½",
        "what is the number of the first step?",
    ),
    "noam_power": (
        "the warm-up has the power −½ instead of −3/2",
        "the two terms should be equal at n = warmup: are yours?",
    ),
    "noam_width": ("the factor for the width is missing", "should a wider model have the same learning rate?"),
    "noam_root": (
        "the result is multiplied by √C instead of divided by it",
        "should a wider model have a larger learning rate?",
    ),
}
EXERCISE = Exercise(
    target="minilm.formulas.optimizers.warmup_cosine",
    also=(
        "minilm.exercises.specs.e23_schedule.progress",
        "minilm.exercises.specs.e23_schedule.noam",
    ),
    section=("01", "Warm-up and decay of the learning rate"),
    task="Write three small functions: how much of a run is over at a step; the share of the peak learning rate at that point (a "
    "straight line up to p = w, then half a cosine down to the floor at p = 1); and the schedule of the first Transformer.",
    docstring="""The share of the peak learning rate at progress p: p/w before p = w, then half a cosine from 1 to the floor f.  F03.

    The cosine covers the whole part after the warm-up: it begins at 1 for p = w and ends at f for p = 1.""",
    returns={"progress": "step", "cosine": "place", "learning rate": "step", "noam": "step"},
    tiny=lambda: {"N": 4, "w": 0.5, "floor": 0.1, "C": 4, "warmup": 2, "p": np.array([0.0, 0.5, 0.75, 1.0])},
    probes=lambda rng: {
        "a short run": run_of(rng, 9, 0.3, 0.2, 16, 4),
        "a longer one, a high floor": run_of(rng, 23, 0.15, 0.4, 64, 7),
        "no floor": run_of(rng, 12, 0.25, 0.0, 25, 5),
    },
    edges=edges,
    properties=(
        Property(
            "a longer run gives the same curve, stretched",
            longer,
            lambda a, b: np.allclose(a[0], b[0].reshape(-1, 2).mean(1)) and np.allclose(a[1], b[1]),
        ),
    ),
    run=a_run,
    forbidden=("warmup_linear", "schedule.warmup_cosine", "CosineAnnealingLR", "LambdaLR"),
    steps=(
        "before p = w: a straight line from 0 to 1",
        "after p = w: how much of the remaining run is over, from 0 to 1",
        "the cosine from 1 down to f",
    ),
    right={
        "by sines": {
            "warmup_cosine": cosine_by_sine,
            "progress": lambda n, N: (2 * n - 1) / (2 * N),
            "noam": noam_in_two_cases,
        },
        "both curves": {
            "warmup_cosine": cosine_by_table,
            "progress": lambda n, N: n / N - 1 / N / 2,
            "noam": noam_by_logarithms,
        },
        "complex numbers": {
            "warmup_cosine": cosine_by_complex_numbers,
            "progress": lambda n, N: np.mean([n - 1, n]) / N,
            "noam": noam_from_the_peak,
        },
    },
    wrong={key: mistake(key, *said) for key, said in WRONG.items()}
    | {key: mistake(key, each.name, each.question) for key, each in listed(MORE).items()},
    hints=(
        "½(1 + cos πu) falls from 1 at u = 0 to 0 at u = 1. Stretch it over the part after the warm-up, and squeeze it between "
        "the floor and 1. The other schedule consists of two curves, and at every step the lower one applies.",
        "progress: (n − ½)/N. cosine: if p < w, p/w; else u = (p − w)/(1 − w) and f + (1 − f)·½(1 + cos πu). noam: the smaller "
        "of n^−½ and n·warmup^−3/2, divided by √C.",
        "if p < w: p over w;  else: u = (the distance from w to p) over (the distance from w to 1);  the floor, plus what is "
        "left up to 1 times half of (1 plus cos of pi u);  noam: min of two powers, times C to the power of minus a half",
    ),
)
