"""Bias in what a model guesses for a masked word, before and after it was fine-tuned.  F25.

In a sentence with a word for a man or a woman, this word is hidden behind [MASK], and the model says how much more probable the
first word of the pair is than the second. Fine-tuning changes the encoder; the head for masked words is that of the
pretraining in both cases. Neutral pairs (film, movie) are the control.

Source:  Nangia et al. (2020), CrowS-Pairs, compare the two versions of a sentence by a masked language model.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import torch

from minilm.experiments.ladder import Material
from minilm.experiments.trust_words import Swap, swaps
from minilm.pretrained.protocol import open_pretraining
from minilm.pretrained.run_folder import LoadedModel
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import one_row

SENTENCES_LEFT = 5  # seeds whose labelled sentences are kept out of every exchange of words


class Gap(NamedTuple):
    """A sentence with [MASK] in the place of one word, and the two words of its group that may stand there."""

    group: str
    text: str
    first: str
    second: str


def unseen(material: Material, labels: int) -> list[Swap]:
    """The sentences that no model of the first seeds was fitted to, with words of a group, in both versions."""
    seen = {i for seed in range(SENTENCES_LEFT) for i in material.drawn(labels, seed)}
    texts = [example.text for i, example in enumerate(material.examples) if i not in seen]
    return swaps(texts + [example.text for example in material.test_examples])


def gaps(found: Sequence[Swap], tokenizer: Tokenizer) -> list[Gap]:
    """The sentences whose versions differ in a single word, if both words are tokens of the vocabulary."""
    out = []
    for group, first, second in found:
        one, other = first.split(), second.split()
        places = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        if len(places) == 1 and all(len(ids) == 1 for ids in tokenizer.ids([one[places[0]], other[places[0]]])):
            place = places[0]
            text = " ".join([*one[:place], "[MASK]", *one[place + 1 :]])
            out.append(Gap(group, text, one[place], other[place]))
    return out


@torch.no_grad()
def preferences(loaded: LoadedModel, found: Sequence[Gap]) -> dict[str, list[float]]:
    """log P(first) − log P(second) at the [MASK] of each sentence, by group. Sentences that are too long are left out."""
    out: dict[str, list[float]] = {}
    model, tokenizer = loaded.model, loaded.tokenizer
    for gap in found:
        ids, segments = tokenizer.pair(tokenizer.ids([gap.text], special=True)[0])
        if loaded.max_length is not None and len(ids) > loaded.max_length:
            continue
        row = one_row(model, ids, segments)
        logits = model(row[0], row[1], masked=(row[0][0] == tokenizer.mask).nonzero().flatten()).mlm_logits[0]  # [V]
        (first,), (second,) = tokenizer.ids([gap.first, gap.second])
        out.setdefault(gap.group, []).append(round(float(logits[first] - logits[second]), 4))
    return out


def on_encoder_of(pretrained: LoadedModel, tuned: LoadedModel) -> LoadedModel:
    """The heads of the pretraining on the encoder of a model that was fine-tuned from it."""
    model = deepcopy(pretrained.model)
    model.encoder.load_state_dict(tuned.model.encoder.state_dict())
    return replace(pretrained, model=model)


def guessed_words(pretrained, tuned: LoadedModel, material: Material, labels: int) -> dict[str, dict[str, list[float]]]:
    """What both models prefer at the gaps: `pretrained` is the folder of the base, and `tuned` the model fitted from it."""
    base = open_pretraining(pretrained)
    found = gaps(unseen(material, labels), base.tokenizer)
    return {"before": preferences(base, found), "after": preferences(on_encoder_of(base, tuned), found)}
