r"""Training a model to turn one text into another, and using it.  F23 with a source text.

Letters:  B batch · S length of the source · T length of the target · V vocabulary · ε label smoothing
Sources:  Sutskever, Vinyals and Le (2014), Sequence to Sequence Learning with Neural Networks; Vaswani et al. (2017), §5.4,
          for label smoothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minilm.examples.batching import Batch, pad
from minilm.examples.seq2seq import source_row
from minilm.models.generation import Written, beam_search, generate
from minilm.text.memory import with_hints
from minilm.text.parallel import placeholders
from minilm.text.tokenizer import Tokenizer
from minilm.training.agreement import most_agreed
from minilm.training.loop import Step
from minilm.training.objectives import CausalLM
from minilm.training.writing import never_written


@dataclass(frozen=True)
class SequenceToSequence(CausalLM):
    r"""−1/N Σ log P(yₜ ∣ x, y₁ … yₜ₋₁) over all tokens of the targets except the first.  F23.

    *Teacher forcing*: at every position the decoder reads the true tokens before it, and not those that it would have written
    itself, so all positions of a text are computed at once. With `label_smoothing` ε, the loss that is minimised asks for
    (1 − ε) + ε/V at the true token and ε/V at all others; what is measured has none. The model is called as
    `model(source_ids, input_ids, source_mask, attention_mask)` and returns logits [B, T, V].
    """

    label_smoothing: float = 0.0

    def logits(
        self, model: nn.Module, batch: Batch, input_ids: Tensor, mask: Tensor | None, counted: Tensor | None = None
    ) -> Tensor:
        logits = model(batch.source_ids, input_ids, batch.source_mask, mask)
        return logits if counted is None else logits[counted]

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """The loss with label smoothing, to minimise and to display."""
        loss = self.loss(model, batch, self.label_smoothing).value
        return Step(loss, {"loss": loss.detach()}, batch.tokens)


def translate(
    model: nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    beams: int = 1,
    length_penalty: float = 1.0,
    max_new_tokens: int = 100,
    batch: int = 64,
) -> list[str]:
    """What the model writes for every text: greedily, or with the best of `beams` beams.

    Raises InputError for a text without tokens or one that is longer than the model takes.
    """
    translator: Any = model.eval()
    rows = [source_row(tokenizer, ids, text, translator.config.max_length) for text, ids in _ids(tokenizer, texts)]
    settings: dict[str, Any] = dict(max_new_tokens=max_new_tokens, stop={tokenizer.end})
    settings["banned"] = never_written(model, tokenizer)
    written: list[Written | None] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # texts of similar lengths share a batch
    size = 1 if beams > 1 else batch
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        source_ids = pad([rows[i] for i in chosen], tokenizer.pad)
        mask = pad([[1] * len(rows[i]) for i in chosen], 0).bool()
        reader = translator.reading(source_ids.to(device_of(model)), mask.to(device_of(model)))
        if beams > 1:
            written[chosen[0]] = beam_search(
                reader, [tokenizer.begin], beams, length_penalty=length_penalty, **settings
            )[0]
        else:
            found = generate(reader, [[tokenizer.begin]] * len(chosen), temperature=0, **settings)
            for i, one in zip(chosen, found, strict=True):
                written[i] = one
    return [tokenizer.text(i for i in (one.ids if one else []) if i != tokenizer.end) for one in written]


TEMPERATURE, TOP_P = 0.7, 0.95  # of the translations that are drawn, chosen on the development part of the strings
HINT = 2  # what a hint counts for, in translations that are drawn; chosen there, too


def translate_by_agreement(
    model: nn.Module,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    samples: int = 24,
    hints: Sequence[Sequence[str]] = (),
    beams: int = 4,
    length_penalty: float = 1.0,
    max_new_tokens: int = 100,
    seed: int = 0,
) -> list[str]:
    """For every source, the translation that agrees most with `samples` others, which are drawn (`training/agreement.py`).

    `hints` are the translations of each source's neighbours, which the model reads behind it (`text/memory.py`). Candidates are
    the translations that are drawn, the best beams and the hints, and all of them vote as well. A candidate that loses
    a placeholder is taken only if all do; what is lost then is written behind it, because a program fails without it.
    The same seed gives the same translations. Raises InputError as `translate` does.
    """
    translator: Any = model.eval()
    settings: dict[str, Any] = dict(max_new_tokens=max_new_tokens, stop={tokenizer.end})
    settings["banned"] = never_written(model, tokenizer)
    out = []
    given = list(hints) or [[] for _ in sources]
    texts = [with_hints(source, hint) for source, hint in zip(sources, given, strict=True)]
    for number, (text, ids) in enumerate(_ids(tokenizer, texts)):
        row = source_row(tokenizer, ids, text, translator.config.max_length)
        source_ids = torch.tensor([row] * samples, device=device_of(model))
        found = generate(
            *(translator.reading(source_ids), [[tokenizer.begin]] * samples),
            **settings | dict(temperature=TEMPERATURE, top_p=TOP_P, seed=seed + number),
        )
        found += beam_search(
            translator.reading(source_ids[:1]), [tokenizer.begin], beams, length_penalty=length_penalty, **settings
        )
        written = [tokenizer.text(i for i in one.ids if i != tokenizer.end) for one in found]
        votes = Counter(dict.fromkeys(given[number], HINT)) + Counter(written)
        out.append(safest([*written, *given[number]], votes, sources[number]))
    return out


def safest(candidates: Sequence[str], votes: Counter[str], source: str) -> str:
    """The best candidate of those that lose the fewest placeholders of the source, with what is lost behind it."""
    lost = {one: placeholders(source) - placeholders(one) for one in candidates}
    fewest = min(each.total() for each in lost.values())
    best = most_agreed([one for one, each in lost.items() if each.total() == fewest], votes)
    return " ".join([best, *lost[best].elements()])


@torch.inference_mode()
def align(
    model: nn.Module, tokenizer: Tokenizer, source: str, target: str
) -> tuple[list[str], list[str], list[np.ndarray]]:
    """Which tokens of the source each token of the target looks at: the tokens of both, and the weights [H, T, S] of each layer.

    Row t belongs to the step that writes token t, so the last row writes the token that ends the target.
    Raises InputError as `translate` does.
    """
    translator: Any = model.eval()
    (x, y), device = tokenizer.ids([source, target]), device_of(model)
    x = source_row(tokenizer, x, source, translator.config.max_length)
    source_ids = torch.tensor([x], device=device)
    states = translator.encoder(source_ids).hidden
    read = torch.tensor([[tokenizer.begin, *y]], device=device)
    _, weights = translator.hidden(read, states, need_weights=True)
    names = [[tokenizer.text([i]) or tokenizer.tokens([i])[0] for i in row] for row in (x, [*y, tokenizer.end])]
    source_tokens, target_tokens = ([name.replace(" ", "␣") for name in row] for row in names)
    return source_tokens, target_tokens, [w[0].cpu().numpy() for w in weights]


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[tuple[str, list[int]]]:
    return list(zip(texts, tokenizer.ids(list(texts)), strict=True))


def device_of(model: nn.Module) -> torch.device:
    """Where the weights of a model are."""
    return next(model.parameters()).device
