"""What `minilm bench recipe` tries: every variant of the quickstart's recipe, with the question that it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from minilm.errors import InputError
from minilm.jobs.pretrain import PretrainOptions

RECIPE, OLD = "recipe", "old-recipe"


@dataclass(frozen=True)
class Variant:
    """The options of pretraining that a variant changes, and the question that it answers.

    A variant with larger batches gets fewer steps, so that all see as many tokens. `steps` multiplies their number.
    """

    name: str
    asks: str
    changes: dict[str, Any] = field(default_factory=dict)
    steps: float = 1.0

    def options(self, base: PretrainOptions) -> PretrainOptions:
        """The options of this variant. `base` has the recipe and its number of steps."""
        assert base.steps is not None
        changed = replace(base, **self.changes)
        return replace(changed, steps=max(1, round(self.steps * base.steps * base.batch / changed.batch)))


# The recipe before positions were a choice: everything by which it may differ from today's stands here, so that it stays.
BEFORE = dict(
    positions="learned", layers=2, heads=4, init="neighbours", word_vectors=True, mask_rate=0.3, batch=16
) | dict(pooler_learning_rate_scale=1.0, next_sentence_rest=1.0)
OLD_RECIPE = {
    "en": BEFORE
    | dict(learning_rate=2e-3, warmup=0.1, embedding_learning_rate_scale=0.1, next_sentence_weight=2.0, window=5),
    "zh": BEFORE
    | dict(learning_rate=3e-3, warmup=0.05, embedding_learning_rate_scale=1.0, next_sentence_weight=1.0, window=3),
}

GRID = [
    Variant("positions-relative", "a bias by distance?", dict(positions="relative")),
    Variant("positions-learned", "a learned vector per position, as in BERT?", dict(positions="learned")),
    Variant("positions-sinusoidal", "fixed waves, as in the first Transformer?", dict(positions="sinusoidal")),
    Variant("positions-rotary", "queries and keys that are turned?", dict(positions="rotary")),
    Variant("layers-2", "are two layers enough?", dict(layers=2)),
    Variant("layers-3", "do three layers pay?", dict(layers=3)),
    Variant("layers-4", "do four layers pay?", dict(layers=4)),
    Variant("heads-4", "four wide heads?", dict(heads=4)),
    Variant("heads-8", "eight narrow heads?", dict(heads=8)),
    Variant("init-fan-in", "what do heads that start by looking next door bring?", dict(init="fan-in")),
    Variant(
        "no-word-vectors",
        "what do counted word vectors bring? (the embeddings learn at the full rate)",
        dict(word_vectors=False, embedding_learning_rate_scale=1.0),
    ),
    Variant("mask-15", "BERT's share of masked words?", dict(mask_rate=0.15)),
    Variant("mask-40", "more masked words?", dict(mask_rate=0.4)),
    Variant(
        "no-next-sentence",
        "what does next sentence cost? (measured on rows without pairs, so its loss is no exact comparison)",
        dict(next_sentence_weight=0.0),
    ),
    Variant(
        "next-sentence-constant",
        "is it enough to learn next sentence first, and then to keep it?",
        dict(next_sentence_rest=1.0),
    ),
    Variant("embeddings-0.1", "embeddings at a tenth of the rate?", dict(embedding_learning_rate_scale=0.1)),
    Variant("embeddings-0.3", "embeddings at a third of the rate?", dict(embedding_learning_rate_scale=0.3)),
    Variant("embeddings-1", "embeddings at the full rate?", dict(embedding_learning_rate_scale=1.0)),
    Variant("batch-32", "fewer, larger steps over as many tokens?", dict(batch=32)),
    Variant("rate-1e-3", "a lower learning rate?", dict(learning_rate=1e-3)),
    Variant("rate-2e-3", "English's learning rate?", dict(learning_rate=2e-3)),
    Variant("rate-3e-3", "Chinese's learning rate?", dict(learning_rate=3e-3)),
    Variant("rate-4e-3", "a higher learning rate?", dict(learning_rate=4e-3)),
    Variant("muon-0.005", "Muon for the matrices of the blocks, at a low rate?", dict(muon_learning_rate=0.005)),
    Variant("muon-0.01", "Muon at 0.01?", dict(muon_learning_rate=0.01)),
    Variant("muon-0.02", "Muon at 0.02?", dict(muon_learning_rate=0.02)),
    Variant("muon-0.005-short", "Muon at 0.005, with as many minutes?", dict(muon_learning_rate=0.005), steps=0.85),
    Variant("muon-0.01-short", "Muon at 0.01, with as many minutes?", dict(muon_learning_rate=0.01), steps=0.85),
    Variant("bf16", "products in bf16, where the machine has a unit for them?", dict(precision="bf16")),
    Variant("steps-double", "what would twice the steps bring? (not an equal budget)", steps=2.0),
    Variant(
        "longer",
        "four layers, Muon, more masks, no next sentence, and 4.7 times the steps? (not an equal budget)",
        dict(layers=4, muon_learning_rate=0.01, mask_rate=0.4, next_sentence_weight=0.0),
        steps=14 / 3,
    ),
]


def declared(language: str, base: PretrainOptions) -> list[Variant]:
    """The recipe, the recipe before it, and every variant that differs from `base`, the recipe of this language."""
    old = Variant(OLD, "the recipe before positions were a choice", OLD_RECIPE[language])
    different = [variant for variant in (old, *GRID) if variant.options(base) != base]
    return [Variant(RECIPE, "the recipe itself"), *different]


def chosen(names: Sequence[str], variants: Sequence[Variant]) -> list[Variant]:
    """The variants with these names, and the recipe, in the order in which they are declared; all without names.

    Raises InputError for a name that is not declared.
    """
    known = [variant.name for variant in variants]
    for name in names:
        if name not in known:
            same = name in {OLD, *(variant.name for variant in GRID)}
            why = "is the recipe itself" if same else "is not declared"
            raise InputError(f"variant '{name}' {why}: choose from {', '.join(known)}.")
    return [variant for variant in variants if not names or variant.name in {RECIPE, *names}]
