r"""Language models: the chain rule, perplexity, count-based models, the causal loss.  F23, F29.

Letters:  B batch · T length · V vocabulary · N predicted tokens · w token ids · z logits · p probability of the actual token
Source:   Shannon (1948), A Mathematical Theory of Communication, §3 (count-based models); MacKay and Peto (1995), A
          Hierarchical Dirichlet Language Model (how to back off).
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_probabilities, check_shape
from minilm.formulas.cross_entropy import log_softmax


def sequence_probability(p: np.ndarray) -> float:
    r"""P(w₁ … w_N) = Πᵢ pᵢ with pᵢ = P(wᵢ ∣ wᵢ₋₁ … w₁), `p` [N].  F23 as printed.

    This is correct but useless on a computer: after a few hundred tokens the product underflows to 0.
    Raises InputError unless 0 ≤ p ≤ 1 and N ≥ 1.
    """
    check_shape("p", p, "N")
    check_not_empty("p", p)
    check_probabilities("p", p)
    return float(np.prod(p))


def sequence_log_probability(p: np.ndarray) -> float:
    r"""log P(w₁ … w_N) = Σᵢ log pᵢ, in nats, for `p` [N]; −∞ if one of them is 0.  F23 as computers need it.

    Raises InputError unless 0 ≤ p ≤ 1 and N ≥ 1.
    """
    check_shape("p", p, "N")
    check_not_empty("p", p)
    check_probabilities("p", p)
    with np.errstate(divide="ignore"):  # log 0 = −∞ is the right answer here
        return float(np.log(p).sum())


def perplexity(p: np.ndarray) -> float:
    r"""exp(−1/N Σᵢ log pᵢ) for `p` [N]: the number of equally likely tokens the model hesitates between.  F23.

    It is V for a model that knows nothing, 1 for a model that knows the text by heart, and ∞ for a model that gave a token
    of the text probability 0. Raises InputError as `sequence_log_probability` does.
    """
    return float(np.exp(-sequence_log_probability(p) / len(p)))


def bigram_counts(w: np.ndarray, V: int) -> np.ndarray:
    r"""n [V, V]: n[a, b] counts how often token b comes right after token a in the text `w` [T].  F23.

    Raises InputError for a text of fewer than two tokens or an id outside 0 … V − 1.
    """
    check_shape("w", w, "T")
    check_classes("w", w, V)
    if len(w) < 2:
        raise InputError(f"w has {len(w)} token(s), but a pair needs two: give a longer text.")
    n = np.zeros((V, V))
    np.add.at(n, (w[:-1], w[1:]), 1)  # n[w[:-1], w[1:]] += 1 would count a repeated pair only once
    return n


def bigram_probabilities(n: np.ndarray, k: float = 1.0) -> np.ndarray:
    r"""P(b ∣ a) = (n_ab + k) / (Σ_b' n_ab' + k V) [V, V], from counts `n` [V, V]; each row sums to 1.  F23.

    The model remembers only one token. k > 0 leaves some probability for unseen pairs: with k = 0, a single new pair makes
    the perplexity of a text infinite, and an unseen token a would give 0/0. Raises InputError unless k > 0 and n ≥ 0.
    """
    check_shape("n", n, "V V")
    if not k > 0:
        raise InputError(f"k is {k}, but unseen pairs need some probability: give a number above 0.")
    if not (np.asarray(n) >= 0).all():
        raise InputError("n holds a negative number, but it counts pairs: give counts of 0 or more.")
    return (n + k) / (n + k).sum(axis=1, keepdims=True)


def counted_probability(
    w: np.ndarray, text: np.ndarray, i: np.ndarray, offsets: tuple[int, ...], V: int, strength: float = 2.0
) -> np.ndarray:
    r"""p [N]: P(text_i ∣ the tokens at i + o, o ∈ offsets) for the positions `i` [N], by counting in `w` [T].  F23, F25.

    Offsets (−1,) make a bigram model, (−1, −2) a trigram model, and (−1, 1) a model that sees both sides. Give the most
    informative offset first. The model backs off: it starts from 1/V, and each offset in turn refines the previous
    estimate q:

        P(w ∣ c) = (n_cw + s q(w)) / (n_c + s)

    q weighs as much as `strength` = s occurrences, so a frequent context c decides for itself and an unseen one keeps q.
    Raises InputError for an id outside 0 … V − 1, an offset of 0 (the answer itself), or an offset that leaves the text.
    """
    for name, ids in (("w", w), ("text", text)):
        check_shape(name, ids, "T")
        check_not_empty(name, ids)
        check_classes(name, ids, V)
    check_shape("i", i, "N")
    check_not_empty("i", i)
    check_classes("i", i, len(text))
    _check_offsets(offsets, i, len(w), len(text), V)
    if not strength > 0:
        raise InputError(f"strength is {strength}, but unseen tokens need some probability: give a number above 0.")
    j = np.arange(
        max(0, -min(offsets, default=0)), len(w) - max(0, max(offsets, default=0))
    )  # positions with all neighbours
    c, c_asked = np.zeros(len(j), np.int64), np.zeros(len(i), np.int64)  # each context as one number in base V
    p = np.full(len(i), 1 / V)
    for o in (None, *offsets):  # None: no context, only the token's frequency
        if o is not None:
            c, c_asked = c * V + w[j + o], c_asked * V + text[i + o]
        n_cw = _occurrences(c * V + w[j], c_asked * V + text[i])
        p = (n_cw + strength * p) / (_occurrences(c, c_asked) + strength)
    return p


def _occurrences(seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """How often each number of `asked` occurs in `seen`."""
    seen = np.sort(seen)
    return np.searchsorted(seen, asked, side="right") - np.searchsorted(seen, asked)


def _check_offsets(offsets: tuple[int, ...], i: np.ndarray, T: int, length: int, V: int) -> None:
    if 0 in offsets:
        raise InputError("offsets contain 0, which is the token to predict: leave it out.")
    low, high = min(offsets, default=0), max(offsets, default=0)
    if i.min() + low < 0 or i.max() + high >= length or T <= max(high, 0) - min(low, 0):
        raise InputError(f"an offset of {low} … {high} leaves the text: choose positions i further from its ends.")
    if V ** (len(offsets) + 1) >= 2**63:
        raise InputError(f"{len(offsets)} offsets are too many for a vocabulary of {V}: use fewer.")


def causal_loss(z: np.ndarray, w: np.ndarray, mask: np.ndarray | None = None) -> float:
    r"""L = −1/N Σ log softmax(z_t)(w_{t+1}): row t of `z` [B, T, V] predicts token t + 1 of `w` [B, T].  F23.

    exp(L) is the perplexity. `mask` [B, T], bool, is True for the tokens that count (None: all); set it to False for
    padding. The first token of a row is never predicted, and the last row of z predicts nothing. This function shifts by
    one itself: if you shift the labels too, you train a model that skips a token.

    Raises InputError for shapes that do not fit, an id outside 0 … V − 1, or if no token counts.
    """
    rows, tokens = _predicted(z, w, mask)
    return float(-log_softmax(z[rows])[np.arange(len(tokens)), tokens].mean())


def causal_loss_gradient(z: np.ndarray, w: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    r"""∂L/∂z [B, T, V] = (ŷ_t − onehot(w_{t+1})) / N in each row t whose token t + 1 counts, 0 in the others.  F23.

    L is a mean of N cross-entropies. Each has the gradient ŷ − onehot in its own row of z and 0 in all other rows.
    """
    rows, tokens = _predicted(z, w, mask)
    gradient = np.zeros(np.shape(z))
    d = np.exp(log_softmax(z[rows]))
    d[np.arange(len(tokens)), tokens] -= 1
    gradient[rows] = d / len(tokens)
    return gradient


def dialogue_loss(z: np.ndarray, w: np.ndarray, is_answer: np.ndarray) -> float:
    r"""1/M Σ_m ℓ(h(o_m); θ): the causal loss over the answer's tokens only, `is_answer` [B, T] bool.  F29.

    A dialogue o_m is a question and its answer in one row. The model reads the question (the rows of z depend on it), but
    is not trained to predict it. M is the number of tokens in the answers. Raises InputError as `causal_loss` does.
    """
    return causal_loss(z, w, is_answer)


def dialogue_loss_gradient(z: np.ndarray, w: np.ndarray, is_answer: np.ndarray) -> np.ndarray:
    r"""∂L/∂z [B, T, V] of the dialogue loss: it is 0 in every row that predicts a token of the question.  F29.

    The row of the question's last token is not 0, because it predicts the first token of the answer.
    """
    return causal_loss_gradient(z, w, is_answer)


def _predicted(
    z: np.ndarray, w: np.ndarray, mask: np.ndarray | None
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Two things: (batch, row) in z of each predicted token that counts, and the ids [N] of these tokens."""
    check_shape("z", z, "B T V")
    B, T, V = z.shape
    check_shape("w", w, "B T", B=B, T=T)
    check_classes("w", w, V)
    mask = np.ones((B, T), bool) if mask is None else np.asarray(mask)
    check_shape("mask", mask, "B T", B=B, T=T)
    if mask.dtype != bool:
        raise InputError(f"mask has the type {mask.dtype}, but must be boolean: give True where a token counts.")
    b, t = np.nonzero(mask[:, 1:])  # row t predicts token t + 1
    if not len(b):
        raise InputError("no token counts after the first of a row, and a mean over nothing has no value.")
    return (b, t), w[b, t + 1]


def sample_word(z: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    r"""Draw one token id from softmax(z / τ) for logits `z` [V]; τ = 0 takes the most likely one.  F23, generation.

    τ < 1 makes likely tokens more likely, τ > 1 makes unlikely ones more likely. Raises InputError for a negative τ.
    """
    check_shape("z", z, "V")
    check_not_empty("z", z)
    if not temperature >= 0:
        raise InputError(f"temperature is {temperature}: give 0 or more; 1 leaves the probabilities unchanged.")
    if temperature == 0:
        return int(np.argmax(z))
    return int(rng.choice(len(z), p=np.exp(log_softmax(z / temperature))))
