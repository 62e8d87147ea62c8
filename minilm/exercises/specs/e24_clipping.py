r"""Clipping gradients by their norm.  F03.  15 minutes, easy."""

import math

import torch

from minilm.exercises.spec import Exercise, Property, Wrong, listed


def flawed(parameters, max_norm, wrong=frozenset()):
    parameters = list(parameters)
    if "none" in wrong:
        gradients = [parameter.grad + 0 for parameter in parameters]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    if "first_only" in wrong:
        gradients = gradients[:1]
    if "in_place_lost" in wrong:
        gradients = [gradient.clone() for gradient in gradients]
    squares = [gradient.square().sum() for gradient in gradients]
    if "sum_of_norms" in wrong:
        norm = sum(square.sqrt() for square in squares).item()
    elif "norm_of_sums" in wrong:
        norm = torch.stack([gradient.sum() for gradient in gradients]).norm().item()
    elif "no_root" in wrong:
        norm = sum(squares).item()
    elif "mean" in wrong:
        norm = (sum(squares) / sum(gradient.numel() for gradient in gradients)).sqrt().item()
    elif "absolute" in wrong:
        norm = sum(gradient.abs().sum() for gradient in gradients).item()
    elif "largest_norm" in wrong:
        norm = max(squares).sqrt().item()
    elif "mean_of_norms" in wrong:
        norm = sum(square.sqrt() for square in squares).item() / len(squares)
    elif "root_of_mean" in wrong:
        norm = (sum(squares) / len(squares)).sqrt().item()
    elif "deviation" in wrong:
        norm = sum((gradient - gradient.mean()).square().sum() for gradient in gradients).sqrt().item()
    elif "largest" in wrong:
        norm = max(gradient.abs().max() for gradient in gradients).item()
    else:
        norm = sum(squares).sqrt().item()
    factor = max_norm / norm if "nothing" in wrong else max_norm / (norm + 1e-6)
    for key, other in {
        "root": factor**0.5,
        "squared": factor**2,
        "by_norm": 1 / (norm + 1e-6),
        "one": min(factor, 1 / (norm + 1e-6)),
        "large_epsilon": max_norm / (norm + 1e-2),
        "added": max_norm / (norm + max_norm),
        "difference": 1 - (norm - max_norm) / (norm + 1.0),
    }.items():
        factor = other if key in wrong and factor < 1 else factor
    if "upside_down" in wrong:
        factor = norm / max_norm
    if "zeros" in wrong and factor < 1:
        factor = 0.0
    for gradient in gradients:
        if "by_value" in wrong:
            gradient.clamp_(-max_norm, max_norm)
        elif "each" in wrong:
            gradient.mul_(min(1.0, max_norm / (gradient.norm().item() + 1e-6)))
        else:
            gradient.mul_(factor if "up" in wrong or factor < 1 else 1.0)
    if wrong & {"factor_returned", "square_returned"}:
        return factor if "factor_returned" in wrong else norm**2
    return min(norm, max_norm) if "after" in wrong else norm


MORE = """  key · what it looks like · a question
absolute · the absolute values are added up, without squares and root ·
    which norm of (3, 4) is 5, and which is 7?
largest_norm · the largest norm of an array is taken for the norm of all ·
    (3) and (4) are two gradients: how long is the vector of both together?
mean_of_norms · the mean of the arrays' norms is taken ·
    (3) and (4) are two gradients: how long is the vector of both together?
root_of_mean · the squares of the arrays are averaged instead of added up ·
    (3) and (4) are two gradients: how long is the vector of both together?
deviation · the mean of each array is subtracted first ·
    the gradient (5, 5): how long is it, and how far is it from its mean?
first_only · only the first array is measured and clipped ·
    how many parameters have a gradient?
in_place_lost · the gradients are not changed: the shortened ones are never stored ·
    what does parameter.grad hold after your function has returned?
root · the factor is the root of what it should be ·
    how long are the gradients after clipping?
squared · the factor is the square of what it should be ·
    how long are the gradients after clipping?
by_norm · gradients that are too long are shortened to the length 1 instead of the bound ·
    where does your code use max_norm?
large_epsilon · the number that is added to the norm is 10⁻² ·
    how long should the gradients be after clipping, and how long are yours?
added · the bound is divided by the norm plus the bound ·
    how long are the gradients after clipping?
difference · the gradients are shortened by a difference, not by a quotient ·
    a gradient that is four times too long: by which factor must it be multiplied?
upside_down · the factor is upside down: norm over bound ·
    if the norm is twice the bound, is your factor 2 or one half?
zeros · gradients that are too long are set to 0 ·
    a bad batch should still move the model a little: in which direction?
factor_returned · the factor is returned instead of the norm ·
    what does the docstring promise to return?
square_returned · the square of the norm is returned ·
    is 25 the length of (3, 4)?
"""


def one_vector(parameters, max_norm):
    parameters = [p for p in parameters if p.grad is not None]
    flat = torch.cat([p.grad.reshape(-1) for p in parameters]) if parameters else torch.zeros(1)
    norm = float(torch.linalg.vector_norm(flat))
    for p in parameters:
        p.grad = p.grad * min(1.0, max_norm / (norm + 1e-6))
    return norm


def numbers_one_by_one(parameters, max_norm):
    parameters, total = list(parameters), 0.0
    for parameter in parameters:
        if parameter.grad is not None:
            total += sum(g * g for g in parameter.grad.flatten().tolist())
    norm = math.sqrt(total)
    if norm + 1e-6 > max_norm:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= (norm + 1e-6) / max_norm
    return norm


def as_in_the_notebook(parameters, max_norm):
    """g ← g · min(1, c/‖g‖), without the 10⁻⁶, as notebook 09 prints it."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float(g.square().sum()) for g in grads))
    for g in grads:
        g *= min(1.0, max_norm / norm) if norm else 1.0
    return norm


def torchs(parameters, max_norm):
    kept = list(parameters)
    return float(torch.nn.utils.clip_grad_norm_([p for p in kept if p.grad is not None], max_norm))


def clipped(clip, gradients, max_norm):
    """Clip parameters with these gradients (None: the loss does not use this parameter); return what they are afterwards."""
    parameters = [torch.zeros_like(g if g is not None else torch.zeros(2)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = None if gradient is None else gradient.clone()
    norm = clip((p for p in parameters), max_norm)  # a generator, like model.parameters(), can be walked only once
    after = {str(i): p.grad for i, p in enumerate(parameters) if p.grad is not None}
    return {"norm": norm, **{f"gradient {i}": gradient for i, gradient in after.items()}}


def gradients(rng, *shapes, scale=1.0, missing=(), max_norm=1.0):
    drawn = [torch.from_numpy(rng.normal(scale=scale * (i + 1), size=shape)) for i, shape in enumerate(shapes)]
    return {"gradients": [None if i in missing else g for i, g in enumerate(drawn)], "max_norm": max_norm}


def shortened(inputs, norm):
    """All gradients times one factor, so that together they have this norm."""
    factor = norm / math.sqrt(sum(float((g**2).sum()) for g in inputs["gradients"]))
    return {**inputs, "gradients": [g * factor for g in inputs["gradients"]]}


def probes(rng):
    return {
        "large gradients": gradients(rng, (3, 4), (5,), (2, 2, 3), max_norm=2.0),
        "one large array, one small": {
            "gradients": [torch.from_numpy(rng.normal(size=4) * size) for size in (10.0, 0.01)],
            "max_norm": 1.5,
        },
        "small gradients": gradients(rng, (4,), (2, 3), scale=1e-2),
        "just above the bound": gradients(rng, (3,), (4,), (5, 2), scale=0.5, max_norm=2.0),
        "just below the bound": shortened(gradients(rng, (3,), (2, 4), max_norm=2.0), 1.5),
        "a bound below 1": gradients(rng, (3,), (4,), max_norm=0.25),
        "a large bound": gradients(rng, (3, 3), (4,), scale=30.0, max_norm=40.0),
    }


def edges(rng):
    zeros = gradients(rng, (3,), (2, 2), scale=0.0)
    return {
        "a parameter without a gradient": gradients(rng, (3,), (2, 2), (4,), missing=(1,), max_norm=0.5),
        "the first and the last parameter without a gradient": gradients(rng, (3,), (2,), (4,), (1,), missing=(0, 3)),
        "a single number": gradients(rng, (), scale=9.0),
        "no gradient at all": gradients(rng, (3,), (2,), missing=(0, 1)),
        "gradients of zero": zeros,
        "gradients of a thousand": gradients(rng, (3, 2), scale=1e3),
    }


def lengths(out):
    """The norm of all gradients of a case together."""
    return math.sqrt(sum(float((g**2).sum()) for g in out[1:]))


def direction(a, b):
    (first, second), (third, fourth) = a[1:], b[1:]
    return (
        abs(first / third - first.flat[0] / third.flat[0]).max() < 1e-9
        and abs(second / fourth - first.flat[0] / third.flat[0]).max() < 1e-9
    )


def two_bounds(rng):
    first = gradients(rng, (4,), (2, 3), max_norm=0.5)
    return {"a bound of 0.5": first, "no bound to speak of": {**first, "max_norm": 1e6}}


EXERCISE = Exercise(
    target="minilm.training.optimizer.clip_gradients",
    section=("09", "Clipping"),
    task="One bad batch must not throw a model off course. Shorten all gradients by one common factor, so that "
    "`parameter.grad` holds the shortened ones, and return the norm as a plain number. `parameters` may be a generator, so you "
    "can walk through it only once.",
    returns={"norm": ""},
    tiny=lambda: {
        "gradients": [torch.tensor([3.0], dtype=torch.float64), torch.tensor([0.0, 4.0], dtype=torch.float64)],
        "max_norm": 1.0,
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "after clipping, the norm is at most the bound",
            lambda rng: {"large": gradients(rng, (4,), (2, 3), scale=10.0, max_norm=0.7)},
            lambda out: lengths(out) <= 0.7 * (1 + 1e-9),
        ),
        Property("the direction of the gradient stays the same", two_bounds, direction),
    ),
    run=clipped,
    forbidden=("clip_grad_norm_", "clip_grad_norm", "clip_grads_with_norm_", "clip_by_global_norm"),
    steps=(
        "the gradients of the parameters that have one",
        "one norm for all of them together",
        "the factor: the bound divided by the norm; plus 10⁻⁶, torch's precaution, or as it is, but never by 0",
        "if the factor is below 1: multiply every gradient by it, in place",
    ),
    right={
        "one long vector": one_vector,
        "numbers one by one": numbers_one_by_one,
        "torch's own": torchs,
        "as in the notebook": as_in_the_notebook,
    },
    rtol=3e-6,  # with and without the 10⁻⁶
    wrong={
        "each": Wrong(
            "every array is clipped by its own norm",
            "if one array has a large norm and another a small one, does the step still point in the same direction?",
        ),
        "up": Wrong(
            "small gradients are scaled up to the bound",
            "near the minimum the gradients get small: what should happen to the steps there?",
        ),
        "by_value": Wrong(
            "each number is cut off at the bound",
            "(3, 4) cut off at 1 gives (1, 1): does it point in the same direction as (3, 4)?",
        ),
        "none": Wrong(
            "a parameter without a gradient causes an error",
            "what is `.grad` of a parameter that the loss does not depend on?",
        ),
        "sum_of_norms": Wrong(
            "the norms of the arrays are added up",
            "the short sides of a right triangle are 3 and 4: how long is the third side?",
        ),
        "norm_of_sums": Wrong(
            "the norm is computed from the sum of each array",
            "the gradient (+5, −5): how long is it, and what is its sum?",
        ),
        "no_root": Wrong("the squares are added up, but the root is missing", "is 25 the length of (3, 4)?"),
        "mean": Wrong(
            "the norm is divided by the root of the number of entries",
            "is a norm made from the sum of the squares or from their mean?",
        ),
        "largest": Wrong("the largest number is used as the norm", "which norm of (3, 4) is 5, and which is 4?"),
        "nothing": Wrong("the bound is divided by a norm of 0", "if all gradients are 0, what do you divide by?"),
        "after": Wrong(
            "the norm that is returned is the one after clipping",
            "the norm should warn you of a bad batch: does the norm before or after clipping do that?",
        ),
        **listed(MORE),
    },
    flawed=flawed,
    hints=(
        "Imagine all gradients joined end to end into one long vector. If it is too long, it is shortened but keeps its "
        "direction: all numbers are multiplied by the same factor.",
        "Gradients that are not None → the sum of all their squares → its root: one number, the norm → factor = bound / (norm + "
        "10⁻⁶) → if it is below 1, each gradient times the factor, in place → return the norm.",
        "collect the grads (skip None; if there are none at all, return 0.0);  norm = root of the sum over arrays of (g "
        "squared, summed);  factor = bound over (norm + 1e-6);  if factor < 1: every g *= factor;  return norm",
    ),
)
