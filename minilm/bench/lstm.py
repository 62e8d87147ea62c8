"""Our LSTM, a plain loop over the steps, compared with `nn.LSTM`: the same weights, without and with the gradient.  F15."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table_of
from minilm.layers.recurrent import Recurrent
from minilm.pretrained.torch_recurrent import to_torch

OURS, AUTOGRAD, REFEREE = "ours, gradient by hand", "ours, autograd", "nn.LSTM"
AGREE = 1e-4  # the largest difference between two outputs or gradients, in float32

Call = Callable[[Tensor], Tensor]


def twins(input_size: int, hidden_size: int, layers: int, seed: int) -> tuple[Recurrent, nn.LSTM]:
    """Ours and PyTorch's with the same weights. PyTorch's second bias, which is simply added to the first, is 0."""
    ours = Recurrent("lstm", input_size, hidden_size, layers, generator=torch.Generator().manual_seed(seed))
    theirs = nn.LSTM(input_size, hidden_size, layers, batch_first=True)
    theirs.load_state_dict(to_torch(ours))
    return ours, theirs


def gradient(call: Call, parameters: list[Tensor], x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs, and the gradient for x of a loss whose gradient for the outputs is `upstream`.

    The gradients for the parameters are computed as well, so that their time counts.
    """
    x = x.detach().requires_grad_()
    out = call(x)
    dx, *_ = torch.autograd.grad(out, [x, *parameters], upstream)
    return out.detach(), dx


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Tokens per second, in turns. Raises RuntimeError if outputs or gradients are not the same."""
    s = options.size
    ours, theirs = twins(max(1, s.width // 2), s.width, s.layers, options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    x = torch.randn(s.batch, s.length, max(1, s.width // 2), generator=generator)
    upstream = torch.randn(s.batch, s.length, s.width, generator=generator)
    calls: dict[str, tuple[Call, list[Tensor]]] = {
        OURS: (lambda x: ours(x)[0], list(ours.parameters())),
        AUTOGRAD: (lambda x: ours(x, by_hand=False)[0], list(ours.parameters())),
        REFEREE: (lambda x: theirs(x)[0], list(theirs.parameters())),
    }
    results = {name: gradient(call, weights, x, upstream) for name, (call, weights) in calls.items()}
    apart = max(float((a - b).abs().max()) for result in results.values() for a, b in zip(result, results[REFEREE]))
    if not apart <= AGREE:
        raise RuntimeError(f"the LSTMs are not the same: outputs or gradients are {apart:.1e} apart")

    def forward(name: str) -> Callable[[int], None]:
        def run(number: int) -> None:
            with torch.no_grad():
                for _ in range(s.steps):
                    calls[name][0](x)

        return run

    def both(name: str) -> Callable[[int], None]:
        def run(number: int) -> None:
            for _ in range(s.steps):
                gradient(*calls[name], x, upstream)

        return run

    tokens = [s.steps * s.batch * s.length] * options.rounds
    say(f"{s.batch} texts of {s.length} tokens, {max(1, s.width // 2)} → {s.width}, {s.layers} layer(s)")
    out: dict = {"outputs_and_gradients_apart": apart}
    for part, kind in {"forward": forward, "forward_and_backward": both}.items():
        clocks = alternate({name: kind(name) for name in calls}, options.rounds, options.progress)
        race = compared(clocks, tokens, "tokens", OURS)
        out[part] = race | {"ours_over_nn_lstm": 1 / race["ratios"][REFEREE]["median"]}
        say(f"\n{part.replace('_', ' ')}: {out[part]['ours_over_nn_lstm']:.2f} × the time of nn.LSTM")
        say(table_of(race, "tokens"))
    return out
