r"""Which words decided? Four answers, and a test that they all have to pass: the deletion test.

    occlusion             f(x) − f(x with the word hidden by [MASK])
    gradient × input      Σ over the word's pieces of e · ∂f/∂e, with e the vector of a piece that enters the first layer
    attention             how much the positions that the head reads attend to the word, in the mean over layers and heads
    attention rollout     the same, followed back through all layers

f is the log-odds of a class, log P/(1 − P), which grows where probabilities are close to 1 already. An explanation is good if
the model changes its mind when the words that it names are deleted; so all are ranked by what their deletion does to P.

Letters:  n words of a text · K classes · H heads · T tokens · J words that are deleted
Sources:  Zeiler and Fergus (2014), Visualizing and Understanding Convolutional Networks (occlusion); Shrikumar et al. (2017),
          DeepLIFT, §2 (gradient × input); Abnar and Zuidema (2020), Quantifying Attention Flow in Transformers (rollout);
          Samek et al. (2017), Evaluating the Visualization of What a Deep Neural Network Has Learned (deletion).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import logits_of, one_row, probabilities


@dataclass(frozen=True)
class Text:
    """A text (or a pair) as its words, with the token ids of each. `first` is the number of words before the second text."""

    words: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...]
    first: int
    paired: bool = False

    @classmethod
    def of(cls, tokenizer: Tokenizer, text: str, pair: str | None = None) -> "Text":
        """The text cut into the tokenizer's own words. Raises InputError for a text without any."""
        parts = [[part[a:b] for a, b in tokenizer.words_of(part)] for part in (text, pair or "")]
        if not parts[0]:
            raise InputError("there is nothing to explain: give a text with words in it.")
        words = [*parts[0], *parts[1]]
        (pieces,) = tokenizer.pieces_of_words([words])
        return cls(tuple(words), tuple(map(tuple, pieces)), len(parts[0]), pair is not None)

    def row(self, tokenizer: Tokenizer, changed: Collection[int] = (), by: str = "deletion") -> tuple[list, list]:
        """The ids and segments of the text whose words `changed` are deleted, or hidden by one [MASK] for each piece."""
        parts: tuple[list[int], list[int]] = [], []
        for i, ids in enumerate(self.pieces):
            if i in changed:
                ids = (tokenizer.mask,) * len(ids) if by == "mask" else ()
            parts[i >= self.first].extend(ids)
        return tokenizer.pair(parts[0], parts[1] if self.paired else None)

    @property
    def places(self) -> list[int]:
        """The word that each position of the row belongs to; −1 for [CLS] and [SEP]."""
        out = [-1]
        for i, ids in enumerate(self.pieces):
            out += [-1] * (self.paired and i == self.first) + [i] * len(ids)
        return [*out, -1]


class Explanation(NamedTuple):
    """What a method says about one text: a score for each word; the higher, the more it speaks for the class."""

    method: str
    scores: np.ndarray  # [n]

    @property
    def order(self) -> list[int]:
        """The words by their scores, the highest first; equal ones as they stand in the text."""
        return np.argsort(-self.scores, kind="stable").tolist()


def rows_of(tokenizer: Tokenizer, rows: Sequence[tuple[list, list]]) -> Dataset:
    """Rows of ids and segments as a data set without labels."""
    columns = {"input_ids": [ids for ids, _ in rows], "token_type_ids": [segments for _, segments in rows]}
    return Dataset(columns, {"input_ids": tokenizer.pad, "token_type_ids": 0}, list(range(len(rows))))


def log_odds(logits: np.ndarray, k: int) -> np.ndarray:
    """log P_k / (1 − P_k) for logits [..., K]: z_k − log Σ_{j≠k} exp z_j."""
    return np.asarray(logits[..., k] - logsumexp(np.delete(logits, k, axis=-1), axis=-1))


def occlusion(model: Classifier, tokenizer: Tokenizer, text: Text, k: int) -> np.ndarray:
    """By how much the log-odds of class k fall when a word is hidden, for each word [n]. Costs a row for each word."""
    rows = [text.row(tokenizer), *(text.row(tokenizer, [i], by="mask") for i in range(len(text.words)))]
    f = log_odds(np.stack(logits_of(model, rows_of(tokenizer, rows))).astype(float), k)
    return f[0] - f[1:]


def gradient_times_input(model: Classifier, tokenizer: Tokenizer, text: Text, k: int) -> np.ndarray:
    """Σ e · ∂f/∂e over the pieces of each word [n], with f the log-odds of class k and e the vector that enters the first layer.

    For a model that is linear in these vectors, this is the part of f that is due to the word. Costs one step forward and one
    back. In a Transformer, e is taken behind the layer norm of the embeddings and not in front of it: a norm gives the same
    output for x and for 2x, so x · ∂f/∂x = 0 there (Euler), and the scores would say nothing.
    """
    caught: list[Tensor] = []

    def catch(module, inputs, output):
        caught.append(output.detach().requires_grad_())
        return caught[0]

    model.eval()
    encoder: Any = model.encoder
    hook = (encoder.embeddings if hasattr(encoder, "embeddings") else encoder.token_table).register_forward_hook(catch)
    try:
        with torch.enable_grad():
            logits = model(*one_row(model, *text.row(tokenizer)))[0]  # [K]
            others = torch.cat([logits[:k], logits[k + 1 :]])
            (gradient,) = torch.autograd.grad(logits[k] - others.logsumexp(dim=0), caught)  # [1, T, C]
    finally:
        hook.remove()
    scores = (
        (gradient * caught[0].detach()).sum(dim=-1)[0].numpy()
    )  # [P + T], with P learned prompts in front of the text
    return by_word(scores[-len(text.places) :], text)


@torch.no_grad()
def attention_layers(model: Classifier, tokenizer: Tokenizer, text: Text) -> list[np.ndarray]:
    """The attention weights of each layer in the mean over its heads, [T, T], without those from and to learned prompts.

    Raises InputError for a model without attention."""
    encoder: Any = model.encoder
    if not hasattr(encoder, "stack"):
        raise InputError(f"{type(encoder).__name__} has no attention: explain it by occlusion or gradient × input.")
    model.eval()
    layers = encoder(*one_row(model, *text.row(tokenizer)), need_weights=True).attentions
    T = len(text.places)
    return [layer[0, :, -T:, -T:].mean(dim=0).double().numpy() for layer in layers]


def read_by_head(model: Classifier, weights: np.ndarray) -> np.ndarray:
    """The row of [CLS] if the head reads that alone, otherwise the mean of all rows: [T, T] → [T]."""
    return weights[0] if model.pooling == "cls" else weights.mean(axis=0)


def attention_received(model: Classifier, tokenizer: Tokenizer, text: Text, k: int) -> np.ndarray:
    """How much attention each word gets, in the mean over all layers and heads [n]. It is the same for every class."""
    layers = attention_layers(model, tokenizer, text)
    return by_word(read_by_head(model, np.mean(layers, axis=0)), text)


def attention_rollout(model: Classifier, tokenizer: Tokenizer, text: Text, k: int) -> np.ndarray:
    """How much attention reaches each word through all layers [n]: the product of ½ (A + I), of which the residual
    connection is the I. It is the same for every class."""
    flow = np.eye(len(text.places))
    for A in attention_layers(model, tokenizer, text):
        flow = 0.5 * (A + np.eye(len(A))) @ flow
    return by_word(read_by_head(model, flow), text)


def by_word(scores: np.ndarray, text: Text) -> np.ndarray:
    """The sum of the scores of each word's pieces, [T] → [n]."""
    out = np.zeros(len(text.words))
    for place, score in zip(text.places, scores, strict=True):
        if place >= 0:
            out[place] += score
    return out


Method = Callable[[Classifier, Tokenizer, Text, int], np.ndarray]
METHODS: dict[str, Method] = {
    "occlusion": occlusion,
    "gradient × input": gradient_times_input,
    "attention": attention_received,
    "attention rollout": attention_rollout,
}


def explain(
    model: Classifier, tokenizer: Tokenizer, text: Text, k: int, methods: Sequence[str] = tuple(METHODS)
) -> list[Explanation]:
    """What each method says about one text and the class k. Raises InputError for a method or a class that does not exist,
    for a tagger, and for a text that is too long."""
    if not isinstance(getattr(model, "head_config", None), TextHeadConfig):
        raise InputError("only classifiers of whole texts are explained, and this model tags words.")
    if not 0 <= k < len(model.labels):
        raise InputError(f"there is no class {k}: the model has {len(model.labels)}.")
    if unknown := [name for name in methods if name not in METHODS]:
        raise InputError(f"there is no explanation '{unknown[0]}': choose from {', '.join(METHODS)}.")
    one_row(model, *text.row(tokenizer))
    return [Explanation(name, METHODS[name](model, tokenizer, text, k)) for name in methods]


def deletion_curves(
    model: nn.Module, tokenizer: Tokenizer, texts: Sequence[Text], orders: Sequence[Sequence[int]], classes, most: int
) -> np.ndarray:
    """P of each text's class after its first 0, 1, … `most` words in the given order were deleted: [texts, most + 1].

    A text with fewer words is left without any.
    """
    rows = [
        text.row(tokenizer, set(order[:j])) for text, order in zip(texts, orders, strict=True) for j in range(most + 1)
    ]
    P = np.stack(probabilities(model, rows_of(tokenizer, rows))).reshape(len(texts), most + 1, -1)
    return P[np.arange(len(texts)), :, np.asarray(classes)].astype(float)


def deletion_score(curves: np.ndarray) -> np.ndarray:
    """How far P falls, in the mean over the 1st, 2nd, … J-th deletion, for each text: [N, J + 1] → [N]. Higher is better."""
    return (curves[:, :1] - curves[:, 1:]).mean(axis=1)
