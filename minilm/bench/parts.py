r"""Where the time of a pretraining step goes: kinds of operations, their share of the time and of the arithmetic.  F22.

    multiplications of a product = rows · inputs · outputs

Time is PyTorch's own account (`torch.profiler`), for each operation without what it calls, so the shares add up to 1. What Python does
between the operations is not in it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from torch.profiler import ProfilerActivity, profile

from minilm.bench.bars import Bar
from minilm.bench.contenders import OURS, Contender, ours
from minilm.bench.options import BenchOptions
from minilm.bench.report import table
from minilm.bench.speed_steps import quickstart

VOCABULARY, LAYERS, ATTENTION = "vocabulary product", "products of the layers", "attention: scores and weights"
LOSS, NORMS, UPDATE, REST = "softmax over the vocabulary, loss", "layer norm and GELU", "clipping and AdamW", "the rest"
KINDS = (VOCABULARY, LAYERS, ATTENTION, LOSS, NORMS, UPDATE, REST)
PRODUCTS = ("aten::mm", "aten::addmm")
OPTIMIZER = tuple(f"aten::{name}" for name in ("linalg_vector_norm", "sqrt", "lerp_", "addcdiv_", "addcmul_"))
SIDE_BY_SIDE = ("aten::bmm", "aten::baddbmm", "aten::_softmax", "aten::_softmax_backward_data")

Shapes = Sequence[Sequence[int]]


def kind_of(name: str, shapes: Shapes, V: int) -> str:
    """To which kind an operation on tensors of these shapes belongs, with a vocabulary of V tokens."""
    of_vocabulary = any(V in shape for shape in shapes)
    if name in PRODUCTS:
        return VOCABULARY if of_vocabulary else LAYERS
    if name in SIDE_BY_SIDE or "scaled_dot_product" in name:
        return ATTENTION
    if "foreach" in name or name in OPTIMIZER:
        return UPDATE
    if "layer_norm" in name or "gelu" in name:
        return NORMS
    if any(len(shape) == 2 and shape[1] == V for shape in shapes):  # [N, V]: logits, or as many numbers
        return LOSS
    return REST


def multiplications(name: str, shapes: Shapes) -> int:
    """How many a product takes; 0 for everything else, which takes few for each number."""
    if name not in (*PRODUCTS, "aten::bmm", "aten::baddbmm"):
        return 0
    a, b = [shape for shape in shapes if len(shape) >= 2][-2:]
    return prod(a) * b[-1]


def parts(options: BenchOptions, say: Callable[[str], None]) -> tuple[dict, list[Bar]]:
    """The quickstart's own step, taken apart. It has no goal."""
    model, drawn, k = quickstart(options, say)
    contender: Contender = ours(model)[OURS]
    contender.learn([drawn[i] for i in range(k)])  # warms up
    batches = [drawn[i] for i in range(k, k * (options.rounds + 1))]
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        contender.learn(batches)
    seconds, work = Counter[str](), Counter[str]()
    for event in seen.key_averages(group_by_input_shape=True):
        shapes = [
            shape for shape in event.input_shapes if isinstance(shape, list) and all(isinstance(n, int) for n in shape)
        ]
        kind = kind_of(event.key, shapes, model.config.vocab_size)
        seconds[kind] += event.self_cpu_time_total / 1e6
        work[kind] += event.count * multiplications(event.key, shapes)
    rows: list[dict[str, Any]] = [
        {
            "part": kind,
            "milliseconds": 1000 * seconds[kind] / len(batches),
            "multiplications": work[kind] / len(batches),
        }
        for kind in KINDS
    ]
    time, arithmetic = (sum(row[name] for row in rows) for name in ("milliseconds", "multiplications"))
    say(f"{time:.0f} ms and {arithmetic / 1e9:.2f} billion multiplications for each of {len(batches)} steps")
    say(
        table(
            ("", "ms", "time", "multiplications"),
            [
                (
                    r["part"],
                    f"{r['milliseconds']:.1f}",
                    f"{r['milliseconds'] / time:.1%}",
                    f"{r['multiplications'] / arithmetic:.1%}",
                )
                for r in rows
            ],
        )
    )
    return {"parts": rows, "steps": len(batches)}, []
