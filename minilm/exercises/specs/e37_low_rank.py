r"""Low-rank adaptation: two thin matrices beside a frozen one.  F28.  30 minutes, medium."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from minilm.exercises.spec import Exercise, Property, listed


def having(*wrong, style=""):
    wrong = frozenset(wrong)

    class Adapted(nn.Module):
        def __init__(self, linear, r, alpha, generator):
            super().__init__()
            out, size = linear.weight.shape
            self.linear = linear
            if "not_frozen" not in wrong:
                linear.weight.requires_grad_(False)
                if linear.bias is not None:
                    linear.bias.requires_grad_("bias_trained" in wrong)
            shape = (r, size)
            if "own_seed" in wrong:
                generator = torch.Generator().manual_seed(0)
            A = torch.randn(shape, generator=generator, dtype=linear.weight.dtype) / size**0.5
            if "uniform" in wrong:  # as torch initialises a linear layer
                A = (2 * torch.rand(shape, generator=generator, dtype=A.dtype) - 1) / size**0.5
            if "uniform_wide" in wrong:
                A = (2 * torch.rand(shape, generator=generator, dtype=A.dtype) - 1) * (3 / size) ** 0.5
            B = A.new_zeros(out, r)
            if "both_random" in wrong:
                B = torch.randn(B.shape, generator=generator, dtype=A.dtype) / r**0.5
            if "narrow" in wrong:
                A = A / size**0.5
            if "turned" in wrong:
                A, B = A * 0, torch.randn(B.shape, generator=generator, dtype=A.dtype) / r**0.5
            if "ones" in wrong:
                A = A * 0 + 1 / size**0.5
            if "both_zero" in wrong:
                A = A * 0
            if "wide" in wrong:
                A = A * size**0.5
            self.A, self.B = nn.Parameter(A), nn.Parameter(B)
            if "A_frozen" in wrong:
                self.A.requires_grad_(False)
            if "B_frozen" in wrong:
                self.B.requires_grad_(False)
            self.scale = alpha / r
            for key, scale in (
                ("no_scale", 1.0),
                ("no_r", alpha),
                ("upside_down", r / alpha),
                ("root", alpha / r**0.5),
                ("by_in", alpha / size),
                ("squared", (alpha / r) ** 2),
                ("minus", -alpha / r),
                ("one_more", alpha / (r + 1)),
            ):
                self.scale = scale if key in wrong else self.scale

        def forward(self, x):
            W, b = self.linear.weight, self.linear.bias
            if style == "merged":
                return F.linear(x, W + self.scale * self.B @ self.A, b)
            if style == "einsum":
                return torch.einsum("...i,ri,or->...o", x, self.A, self.B * self.scale) + self.linear(x)
            if style == "loop":
                y = self.linear(x)
                for a, column in zip(self.A, self.B.T):
                    y = y + self.scale * (x @ a)[..., None] * column
                return y
            low = x @ self.A.T @ self.B.T * self.scale
            if "no_old" in wrong:
                return low
            old = F.linear(x, W) if "no_bias" in wrong else self.linear(x)
            if "activation" in wrong:
                low = torch.relu(x @ self.A.T) @ self.B.T * self.scale
            if "bias_scaled" in wrong and b is not None:
                low = low + (self.scale - 1) * b
            if "detached_b" in wrong:
                low = x @ self.A.T @ self.B.T.detach() * self.scale
            if "detached" in wrong:
                low = (x @ self.A.T).detach() @ self.B.T * self.scale
            return old * (1 + low) if "product" in wrong else old + low

    return Adapted


def run(adapted, W, b, x, A, B, alpha, upstream, seed):
    """The output at the start, with the given A and B, and after one step of gradient descent; and what is trained."""
    # skip_init uses no random numbers
    linear = nn.utils.skip_init(nn.Linear, W.shape[1], W.shape[0], bias=b is not None, dtype=W.dtype)
    with torch.no_grad():
        linear.weight.copy_(W)
        if b is not None:
            linear.bias.copy_(b)
    layer = adapted(linear, len(A), alpha, torch.Generator().manual_seed(seed))
    other = adapted(copy.deepcopy(linear), len(A), alpha, torch.Generator().manual_seed(seed + 1))
    drawn = layer.A.detach().flatten() * W.shape[1] ** 0.5
    spread, chance = float(drawn.std()), 6 / (2 * drawn.numel()) ** 0.5  # about 1, give or take what chance can do
    layer_A, layer_B = layer.A.detach().clone(), layer.B.detach().clone()
    start, shapes = layer(x).detach(), f"A {list(layer.A.shape)}, B {list(layer.B.shape)}"
    trained = sum(p.numel() for p in layer.parameters() if p.requires_grad)
    with torch.no_grad():
        layer.A.copy_(A)
        layer.B.copy_(B)
    y = layer(x)
    (y * upstream).sum().backward()
    with torch.no_grad():
        for p in layer.parameters():
            if p.grad is not None and p.requires_grad:
                p -= 0.1 * p.grad
    return {
        "output at the start": start,
        "output with the given A and B": y.detach(),
        "output after a step": layer(x).detach(),
        "shapes": shapes,
        "how many numbers are trained": trained,
        "A's spread": "0" if spread < 1e-9 else "1/√in" if abs(spread - 1) < chance else "not 1/√in",
        "A at the start is": "not 0" if drawn.any() else "0",
        "B at the start is": "not 0" if layer_B.any() else "0",
        "some numbers of A are beyond 2.3/√in": bool(drawn.numel() < 1500 or drawn.abs().max() > 2.3),
        "another seed gives another A": bool((other.A != layer_A).any() or spread < 1e-9),
    }


def case(rng, *batch, size, out, r, alpha, bias=True, scale=1.0):
    def draw(*shape):
        return torch.from_numpy(rng.normal(size=shape)).reshape(shape)

    return {
        "W": draw(out, size),
        "b": draw(out) if bias else None,
        "x": scale * draw(*batch, size),
        "A": draw(r, size),
        "B": draw(out, r),
        "alpha": alpha,
        "upstream": draw(*batch, out),
        "seed": int(rng.integers(1e6)),
    }


def probes(rng):
    return {
        "rank 3": case(rng, 4, size=17, out=5, r=3, alpha=8.0),
        "rank 2, more outputs than inputs": case(rng, 2, 3, size=24, out=30, r=2, alpha=5.0),
        "a square layer": case(rng, 5, size=19, out=19, r=5, alpha=2.0),
    }


def edges(rng):
    return {
        "no bias": case(rng, 3, size=20, out=4, r=4, alpha=1.0, bias=False),
        "rank 1": case(rng, 3, size=60, out=6, r=1, alpha=3.0),
        "a wide layer": case(rng, 2, size=500, out=3, r=8, alpha=4.0),
        "a single vector": case(rng, size=18, out=4, r=2, alpha=3.0),
        "α equal to the rank": case(rng, 2, size=30, out=4, r=3, alpha=3.0),
    }


MISTAKES = """  key · what it looks like · a question
no_scale · the scale α/r is missing ·
    twice the rank means twice as many terms: what keeps the step as large as it was?
no_r · the scale is α instead of α/r ·
    twice the rank means twice as many terms: what keeps the step as large as it was?
upside_down · the scale is r/α ·
    should a larger α make the change larger or smaller?
root · the scale is α/√r ·
    which power of r does the docstring divide by?
both_random · both factors are random, so the layer does not start as the old one ·
    before the first step, what should the new layer return for any x?
both_zero · both factors are 0, so neither ever learns ·
    the gradient of A contains B, and that of B contains A: what if both are 0?
wide · A is drawn with too large a standard deviation ·
    what is the variance of a sum of `in` numbers of variance 1?
not_frozen · the weights that should be frozen are trained as well ·
    how many numbers did you want to train, and how many have requires_grad?
bias_trained · the old bias is still trained ·
    which parameters of the old layer should not change?
A_frozen · A is frozen too ·
    how many numbers did you want to train, and how many have requires_grad?
detached · no gradient reaches A ·
    what does .detach() do in the backward pass?
no_old · the output of the old layer is missing ·
    what is the product of the two thin matrices added to?
no_bias · the bias of the old layer is lost ·
    which terms does the output of the old layer have?
product · the change is multiplied by the old output instead of added to it ·
    what stands between the two parts of the formula?
own_seed · A is drawn from a generator of its own, not from the one that is given ·
    if the seed is different, should A be the same?
uniform · A is drawn from a uniform distribution between −1/√in and 1/√in ·
    the docstring names a distribution and its standard deviation: which ones?
uniform_wide · A has the right standard deviation, but is drawn from a uniform distribution ·
    the docstring names a distribution: which one?
narrow · A is drawn with too small a standard deviation, 1/in ·
    what is the variance of a sum of `in` numbers of variance 1?
turned · B is random and A is 0 ·
    which of the two does the docstring set to 0?
ones · all numbers of A are the same ·
    if all rows of A are equal, can the r numbers in between ever differ?
B_frozen · B is frozen too ·
    how many numbers did you want to train, and how many have requires_grad?
by_in · the scale is α divided by the number of inputs ·
    by what does the docstring divide α?
squared · the scale is applied twice ·
    how many times does α/r stand in the formula?
minus · the change is subtracted ·
    what stands between the two parts of the formula?
one_more · the scale is α/(r + 1) ·
    by what does the docstring divide α?
activation · there is an activation between the two thin matrices ·
    the product of the two is added to W: can it still be added if something lies between them?
bias_scaled · the old bias is multiplied by the scale as well ·
    which term of the formula does the scale belong to?
detached_b · no gradient reaches B ·
    what does .detach() do in the backward pass?
"""

EXERCISE = Exercise(
    target="minilm.layers.low_rank.LowRankLinear",
    section=("13", "The whole model"),
    task="Fine-tune a layer by training only a few numbers: the old weights stay as they are, and the product of two "
    "thin matrices is added to them.",
    returns={
        "output at the start": "batch feature",
        "output with the given A and B": "batch feature",
        "output after a step": "batch feature",
        "shapes": "",
        "how many numbers are trained": "",
        "A's spread": "",
        "A at the start is": "",
        "B at the start is": "",
        "some numbers of A are beyond 2.3/√in": "",
        "another seed gives another A": "",
    },
    tiny=lambda: {
        "W": torch.eye(20, dtype=torch.float64)[:2],
        "b": torch.tensor([0.5, 0.0], dtype=torch.float64),
        "x": torch.ones(1, 20, dtype=torch.float64),
        "A": torch.ones(2, 20, dtype=torch.float64) / 20,
        "B": torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64),
        "alpha": 6.0,
        "upstream": torch.ones(1, 2, dtype=torch.float64),
        "seed": 0,
    },
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property(
            "with B = 0, the output is the one at the start",
            lambda rng: {"B = 0": (made := case(rng, 3, size=20, out=4, r=2, alpha=4.0)) | {"B": 0 * made["B"]}},
            lambda out: abs(out[0] - out[1]).max() < 1e-12,
        ),
    ),
    steps=(
        "constructor: freeze the parameters of the old layer, draw A, set B to 0",
        "forward: down to r numbers with A, up again with B, times α/r; add the output of the old layer",
    ),
    right={
        "merged": having(style="merged"),
        "einsum": having(style="einsum"),
        "one direction after the other": having(style="loop"),
    },
    wrong=listed(MISTAKES, having),
    hints=(
        "A matrix of rank r is the product of a tall and a flat one. They hold only a few numbers, and yet they can move every "
        "weight. At the start their product must be 0, but it must not stay 0: so one factor is 0 and the other is not.",
        "W [out, in], b [out]: requires_grad off. A [r, in] random, B [out, r] zeros: nn.Parameter. x [..., in] → x Aᵀ [..., r] "
        "→ Bᵀ [..., out] → times α/r → plus the output of the old layer.",
        "in __init__: keep linear, turn its gradients off; A = Parameter(normal over √in), B = Parameter(zeros), keep α/r;  in "
        "forward: old layer of x, plus α/r times (x by A transposed, by B transposed)",
    ),
)
