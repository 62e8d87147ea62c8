r"""A GPT and a 5-gram that predict together: P = λ P_GPT + (1 − λ) P_5-gram.  F23.

The two err at different places: a count knows the rare phrases that it has seen, and a Transformer what it has read further
back. λ is chosen on the development documents.
Source: Mikolov et al. (2011), Empirical Evaluation and Combination of Advanced Language Modeling Techniques, §4.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from minilm.bench.language_model_rows import Material, Result, asked, pretrained_model
from minilm.bench.options import BenchOptions
from minilm.examples.batching import Batch
from minilm.formulas.kneser_ney import KneserNey, framed
from minilm.models.config import parameter_count

N = 5
SHARES = np.linspace(0, 1, 41)  # λ


def mixed(material: Material, options: BenchOptions, seed: int, changes: dict) -> Result:
    """Count the 5-gram and train the GPT for what is left of the minutes."""
    started = time.process_time()
    counted = KneserNey(material.framed(N), material.prepared.tokenizer.size, N, material.tokenizer.begin)
    model, read = pretrained_model(material, options, seed, changes, started)
    begin, end = material.tokenizer.begin, material.tokenizer.end
    p = {
        name: (of_model(model, batches), of_counts(counted, batches, begin, end))
        for name, batches in (("choose", material.whole(material.development)), ("measure", material.whole()))
    }

    def loss(name: str, share: float) -> float:
        gpt, kneser_ney = p[name]
        return float(-np.log(share * gpt + (1 - share) * kneser_ney).mean())

    best = min(SHARES.tolist(), key=lambda share: loss("choose", share))
    parameters = parameter_count(model) + sum(int((a > 0).sum()) for a in counted.counts)
    seconds = 60 * options.minutes
    return material.result(loss("measure", best), asked(material), seconds=seconds, parameters=parameters, read=read)


@torch.no_grad()
def of_model(model: nn.Module, batches: Sequence[Batch]) -> np.ndarray:
    """P(w_t ∣ all before it) of every token of whole documents but the first, batch by batch and row by row."""
    found, reader = [], model.eval()
    for batch in batches:
        ids = batch.input_ids
        mask = torch.ones_like(ids, dtype=torch.bool) if batch.attention_mask is None else batch.attention_mask
        logits = reader(ids[:, :-1], attention_mask=mask[:, :-1])
        found.append(logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None])[..., 0][mask[:, 1:]])
    return torch.cat(found).double().exp().numpy()


def of_counts(counted: KneserNey, batches: Sequence[Batch], begin: int, end: int) -> np.ndarray:
    """The same tokens, in the same order, from the counts."""
    rows = []
    for batch in batches:
        mask = torch.ones_like(batch.input_ids) if batch.attention_mask is None else batch.attention_mask
        rows += [ids[real.bool()][1:-1].numpy() for ids, real in zip(batch.input_ids, mask, strict=True)]
    return counted.probabilities(framed(rows, begin, end, counted.N))
