r"""The hidden states after every layer, read by the vocabulary (the "logit lens").  F20, F23, F25.

Letters:  B rows · T tokens · L layers · C model width · V vocabulary

    x⁰ the embeddings,  xˡ = blockˡ(xˡ⁻¹),   guessesˡ = softmax(head(xˡ)),   head the model's own output head

The last row is what the model says. The head was trained for that row alone, so the rows above are a way of looking at the
states and nothing that the model uses.

Source:  nostalgebraist (2020), interpreting GPT: the logit lens.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import refuse_nan
from minilm.training.writing import never_written

AT_ONCE = 2_048  # tokens in a batch of masked rows


class Reading(NamedTuple):
    """What is read at one place: for every layer the best tokens with their probabilities, the largest first, and for the
    token that really stands there its probability and its rank (1: the best). Without such a token these are None."""

    best: list[list[tuple[int, float]]]
    truth: list[float] | None
    rank: list[int] | None


def states_of(encoder: Any, call: Callable[[], Any], T: int) -> list[Float[Tensor, "B T C"]]:
    """x⁰ … xᴸ while `call` runs the encoder. Learned prompts in front of the text are left out."""
    caught: list[Tensor] = []
    with ExitStack() as hooks:
        first = encoder.stack.layers[0]
        before = first.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
        hooks.callback(before.remove)
        for block in encoder.stack.layers:
            after = block.register_forward_hook(lambda _, __, output: caught.append(output[0]))
            hooks.callback(after.remove)
        call()
    return [x[:, -T:] for x in caught]


def head_of(model: Any) -> Callable[[Tensor], Tensor]:
    """From hidden states [*, C], as a block returns them, to logits [*, V]."""
    if hasattr(model, "mlm_head"):
        return lambda x: model.mlm_head(model.encoder.stack.final_norm(x), model.encoder.token_table.weight)
    return lambda x: model.logits(model.encoder.stack.final_norm(x))


def candidates_of(model: nn.Module, tokenizer: Tokenizer) -> Int[Tensor, " N"]:
    """The ids that may be guessed: those that have a token and are not special. A model that writes may also end the text."""
    if hasattr(model, "mlm_head"):
        found = set(tokenizer.backend.get_vocab().values()) - set(tokenizer.special_ids)
    else:
        config: Any = model.config
        found = set(range(config.vocab_size)) - never_written(model, tokenizer)
    return torch.tensor(sorted(found))


def readings(logits: list[Float[Tensor, "N V"]], truth: list[int], candidates: Tensor, top: int) -> list[Reading]:
    """The logits of every layer at N places, as a reading for each place. `truth` holds the real tokens; −1: there is none."""
    refuse_nan(logits[-1], "the score of place {}")
    layers = [z[:, candidates].softmax(dim=-1) for z in logits]  # each [N, candidates]
    place_of = {int(i): place for place, i in enumerate(candidates)}
    best = [p.topk(min(top, p.size(-1))) for p in layers]
    out = []
    for n, token in enumerate(truth):
        rows = [
            [(int(candidates[place]), float(p)) for p, place in zip(values[n], places[n], strict=True)]
            for values, places in best
        ]
        if (place := place_of.get(token)) is None:
            out.append(Reading(rows, None, None))
        else:
            real = [float(p[n, place]) for p in layers]
            out.append(Reading(rows, real, [int((p[n] > p[n, place]).sum()) + 1 for p in layers]))
    return out


@torch.no_grad()
def hidden_words(
    model: Any, tokenizer: Tokenizer, ids: list[int], token_type_ids: list[int], top: int = 5
) -> dict[int, Reading]:
    """What the model guesses at every place if the token there is hidden by [MASK], one place at a time.  F25.

    A place that is [MASK] already is guessed as it is. Other special tokens are left out.
    """
    kept = set(tokenizer.special_ids) - {tokenizer.mask, tokenizer.unknown}
    places = [t for t, i in enumerate(ids) if i not in kept]
    candidates, head = candidates_of(model, tokenizer), head_of(model)
    out: dict[int, Reading] = {}
    step = max(1, AT_ONCE // len(ids))
    for start in range(0, len(places), step):
        chosen = places[start : start + step]
        rows = torch.tensor([ids] * len(chosen))
        rows[torch.arange(len(chosen)), chosen] = tokenizer.mask
        types = torch.tensor([token_type_ids] * len(chosen))
        states = states_of(model.encoder, lambda r=rows, t=types: model.encoder(r, t), len(ids))  # type: ignore[misc]
        logits = [head(x[torch.arange(len(chosen)), chosen]) for x in states]
        truth = [-1 if ids[t] == tokenizer.mask else ids[t] for t in chosen]
        out |= zip(chosen, readings(logits, truth, candidates, top), strict=True)
    return out


@torch.no_grad()
def next_tokens(model: Any, tokenizer: Tokenizer, ids: list[int], top: int = 5) -> list[Reading]:
    """What the model expects after each of the tokens.  F23. A model without a stack of blocks has only its own last row."""
    row, candidates = torch.tensor([ids]), candidates_of(model, tokenizer)
    if hasattr(model.encoder, "stack"):
        head = head_of(model)
        logits = [head(x[0]) for x in states_of(model.encoder, lambda: model.encoder(row), len(ids))]
    else:
        logits = [model(row)[0]]
    return readings(logits, [*ids[1:], -1], candidates, top)
