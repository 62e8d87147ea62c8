r"""The matrix products of a pretraining step, alone: which share of the step's time would they take?

Letters:  R rows · I inputs · O outputs · H heads · T query length · S key length · D size of a head
"""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from minilm.bench.bars import Bar
from minilm.bench.contenders import ONEDNN, OURS, Contender, ours
from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table_of
from minilm.bench.speed_steps import batches_for, new_model, times_of
from minilm.examples.batching import Batch
from minilm.layers.products import by_onednn
from minilm.text.prepare import prepare


class Products(TorchDispatchMode):
    """Notes the shapes of all matrix products that are computed meanwhile: (rows, inputs, outputs, how many side by side).

    In fused attention they are hidden in the kernel, so they are noted from its shapes: Q Kᵀ and P V forward, and four products
    of these sizes backward. (The kernel computes Q Kᵀ once more, which is not necessary and not counted.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[int, int, int, int]] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, factors = function.overloadpacket.__name__, [a for a in args if isinstance(a, Tensor)]
        if name in ("mm", "addmm", "bmm"):
            a, b = factors[-2:]
            self.note(a.shape[-2], a.shape[-1], b.shape[-1], len(a) if name == "bmm" else 1)
        elif name.startswith("_scaled_dot_product_flash_attention_for_cpu"):
            q, k = factors[1:3] if name.endswith("backward") else factors[:2]
            T, S, D, side_by_side = q.size(2), k.size(2), q.size(3), q.size(0) * q.size(1)
            for _ in range(2 if name.endswith("backward") else 1):
                self.note(T, D, S, side_by_side)
                self.note(T, S, D, side_by_side)
        return function(*args, **(kwargs or {}))

    def note(self, R: int, I: int, O: int, side_by_side: int) -> None:
        self.seen[R, I, O, side_by_side] += 1


def products_alone(seen: Counter, by: str, seed: int) -> Callable[[int], None]:
    """A function that computes these products of random numbers, and nothing else. oneDNN takes those that are not side by side."""
    generator = torch.Generator().manual_seed(seed)
    factors = [
        (
            torch.randn(n, R, I, generator=generator),
            torch.randn(n, O, I, generator=generator),
            torch.empty(n, R, O),
            times,
        )
        for (R, I, O, n), times in seen.items()
    ]

    def run(number: int) -> None:
        for a, b, out, times in factors:
            for _ in range(times):
                if len(a) > 1:
                    torch.bmm(a, b.transpose(1, 2), out=out)
                elif by == "onednn":
                    by_onednn(a[0], b[0])
                else:
                    torch.mm(a[0], b[0].T, out=out[0])

    return run


def steps(rival: Contender, batches: list[Batch]) -> Callable[[int], None]:
    """A function that takes a step on each of these batches."""
    return lambda number: rival.learn(batches)


def matrix_rate(options: BenchOptions, say: Callable[[str], None]) -> tuple[dict, list[Bar]]:
    """Which share of a step's time its matrix products would take alone: 100 % is a step that does nothing else."""
    prepared = prepare(options.corpus, options.cache, options.size.vocab_size, say=say)
    model, k = new_model(options, prepared.tokenizer.size), options.size.steps
    batches = batches_for(options, prepared, k)
    rivals = ours(model)
    with Products() as noted:
        ours(model)[OURS].learn(batches)
    flops = sum(2 * R * I * O * many * times for (R, I, O, many), times in noted.seen.items())
    runs: dict[str, Callable[[int], None]] = {}
    for name, by in {OURS: "torch", ONEDNN: "onednn"}.items():
        if name in rivals:
            runs[name] = steps(rivals[name], batches)
            runs[f"{name}: products alone"] = products_alone(noted.seen, by, options.seed)
    clocks = alternate(runs, options.rounds, options.progress)
    race = compared(clocks, [flops / 1e9] * options.rounds, "gflop", OURS)
    say(f"{flops / k / 1e9:.1f} GFLOP of matrix products in a step, of {len(noted.seen)} different sizes")
    say(table_of(race, "gflop"))
    shares = {name: times_of(race, f"{name}: products alone", name) for name in rivals}
    bars = [
        Bar(f"pretraining step, {name}", "its products alone", 0.8, each, unit="%") for name, each in shares.items()
    ]
    return {"gflop_per_step": flops / k / 1e9, **race}, bars
