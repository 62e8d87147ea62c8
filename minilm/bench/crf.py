"""Our CRF, its gradient by hand and by autograd, compared with `pytorch-crf`: one loss with its gradient.  F31."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table_of
from minilm.errors import InputError
from minilm.layers.crf import CRF

OURS, AUTOGRAD, REFEREE = "ours, gradient by hand", "ours, autograd", "pytorch-crf"
TAGS = 7  # O, and B and I of three kinds of entity, as in the Chinese newspaper
AGREE = 1e-4  # the largest difference between two losses per word or gradients, in float32

Call = Callable[[Tensor], Tensor]


def twins(seed: int) -> tuple[CRF, Any]:
    """Ours and theirs with the same random scores. Raises InputError if the package is not installed."""
    try:
        import torchcrf
    except ImportError:
        raise InputError("this needs the referee: pip install pytorch-crf") from None
    ours, theirs = CRF(TAGS), torchcrf.CRF(TAGS, batch_first=True)
    generator = torch.Generator().manual_seed(seed)
    pairs = {ours.A: theirs.transitions, ours.start: theirs.start_transitions, ours.end: theirs.end_transitions}
    with torch.no_grad():
        for mine, their in pairs.items():
            their.copy_(mine.copy_(torch.randn(mine.shape, generator=generator)))
    return ours, theirs


def gradient(call: Call, scores: list[Tensor], E: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradients for E and for the transitions. Those for start and end are computed as well."""
    E = E.detach().requires_grad_()
    loss = call(E)
    dE, dA, *_ = torch.autograd.grad(loss, [E, *scores])
    return loss.detach(), dE, dA


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Words per second, in turns, on ragged batches. Raises RuntimeError if losses or gradients are not the same."""
    s = options.size
    ours, theirs = twins(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    E = torch.randn(s.batch, s.length, TAGS, generator=generator)
    y = torch.randint(0, TAGS, (s.batch, s.length), generator=generator)
    lengths = torch.randint((s.length + 1) // 2, s.length + 1, (s.batch,), generator=generator)
    lengths[0] = s.length
    attention_mask = torch.arange(s.length) < lengths[:, None]
    words = int(attention_mask.sum())
    calls: dict[str, tuple[Call, list[Tensor]]] = {
        OURS: (lambda E: ours(E, y, attention_mask).sum() / words, [ours.A, ours.start, ours.end]),
        AUTOGRAD: (lambda E: ours(E, y, attention_mask, by_hand=False).sum() / words, [ours.A, ours.start, ours.end]),
        REFEREE: (
            lambda E: -theirs(E, y, attention_mask, reduction="sum") / words,
            [theirs.transitions, theirs.start_transitions, theirs.end_transitions],
        ),
    }
    results = {name: gradient(call, scores, E) for name, (call, scores) in calls.items()}
    apart = max(float((a - b).abs().max()) for result in results.values() for a, b in zip(result, results[REFEREE]))
    if not apart <= AGREE:
        raise RuntimeError(f"the CRFs are not the same: losses or gradients are {apart:.1e} apart")

    def both(name: str) -> Callable[[int], None]:
        def run(number: int) -> None:
            for _ in range(s.steps):
                gradient(*calls[name], E)

        return run

    say(f"{s.batch} sentences of {int(lengths.min())} to {s.length} words, {TAGS} tags")
    clocks = alternate({name: both(name) for name in calls}, options.rounds, options.progress)
    race = compared(clocks, [s.steps * words] * options.rounds, "words", OURS)
    ratio = 1 / race["ratios"][REFEREE]["median"]
    say(f"\nforward and backward: {ratio:.2f} × the time of pytorch-crf")
    say(table_of(race, "words"))
    return {"losses_and_gradients_apart": apart, "forward_and_backward": race | {"ours_over_pytorch_crf": ratio}}
