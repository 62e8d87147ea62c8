r"""Language models: the chain rule, perplexity, models by counting, the causal loss.  F23, F29.

Letters:  B batch · T length · V vocabulary · N words that are guessed · w ids · z logits · p probability of the word that came
Source:   Shannon (1948), A Mathematical Theory of Communication, §3 (models by counting); MacKay and Peto (1995), A
          Hierarchical Dirichlet Language Model (how to back off).
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_probabilities, check_shape
from minilm.formulas.cross_entropy import log_softmax


def sequence_probability(p: np.ndarray) -> float:
    r"""P(w₁ … w_N) = Πᵢ pᵢ with pᵢ = P(wᵢ ∣ wᵢ₋₁ … w₁), `p` [N].  F23 as printed.

    Right, and of no use in a computer: a few hundred words make it 0. Raises InputError unless 0 ≤ p ≤ 1.
    """
    check_shape("p", p, "N")
    check_not_empty("p", p)
    check_probabilities("p", p)
    return float(np.prod(p))


def sequence_log_probability(p: np.ndarray) -> float:
    r"""log P(w₁ … w_N) = Σᵢ log pᵢ, in nats, for `p` [N]; −∞ if one of them is 0.  F23, as it is computed.

    Raises InputError unless 0 ≤ p ≤ 1 and N ≥ 1.
    """
    check_shape("p", p, "N")
    check_not_empty("p", p)
    check_probabilities("p", p)
    with np.errstate(divide="ignore"):  # log 0 = −∞ is the answer, not an accident
        return float(np.log(p).sum())


def perplexity(p: np.ndarray) -> float:
    r"""exp(−1/N Σᵢ log pᵢ) for `p` [N]: among how many equally likely words the model wavers.  F23.

    V for a model that knows nothing, 1 for one that knows the text, ∞ for one that held a word of it impossible.
    Raises InputError as `sequence_log_probability` does.
    """
    return float(np.exp(-sequence_log_probability(p) / len(p)))


def bigram_counts(w: np.ndarray, V: int) -> np.ndarray:
    r"""n [V, V]: how often word b came right after word a, n[a, b], in the text `w` [T].  F23.

    Raises InputError for a text of fewer than two words or an id outside 0 … V − 1.
    """
    check_shape("w", w, "T")
    check_classes("w", w, V)
    if len(w) < 2:
        raise InputError(f"w has {len(w)} word(s), but a pair takes two: give a longer text.")
    n = np.zeros((V, V))
    np.add.at(n, (w[:-1], w[1:]), 1)  # n[w[:-1], w[1:]] += 1 would count a pair that comes twice once
    return n


def bigram_probabilities(n: np.ndarray, k: float = 1.0) -> np.ndarray:
    r"""P(b ∣ a) = (n_ab + k) / (Σ_b' n_ab' + k V) [V, V], from counts `n` [V, V]; each row sums to 1.  F23.

    The memory of the model is one word. k > 0 leaves something for pairs never seen: with k = 0 a single new pair makes
    the perplexity of a text infinite, and a word never seen has no row at all. Raises InputError unless k > 0, n ≥ 0.
    """
    check_shape("n", n, "V V")
    if not k > 0:
        raise InputError(f"k is {k}, but pairs that were never seen need a share: give a number above 0.")
    if not (np.asarray(n) >= 0).all():
        raise InputError("n holds a negative number, but it counts pairs: give counts from 0 up.")
    return (n + k) / (n + k).sum(axis=1, keepdims=True)


def counted_probability(
    w: np.ndarray, text: np.ndarray, i: np.ndarray, offsets: tuple[int, ...], V: int, strength: float = 2.0
) -> np.ndarray:
    r"""p [N]: P(text_i ∣ the words at i + o, o ∈ offsets) for the positions `i` [N], by counting in `w` [T].  F23, F25.

    Offsets (−1,) are a bigram model, (−1, −2) a trigram model, (−1, 1) one that sees both sides. It backs off: starting
    from 1/V, each offset in turn, the most telling first, sharpens what the ones before it gave, q:

        P(w ∣ c) = (n_cw + s q(w)) / (n_c + s)

    A context c that was seen often speaks for itself, one never seen leaves q as it was. q counts like `strength` = s
    occurrences. Raises InputError for an id outside 0 … V − 1, an offset 0 (that is the answer), or one that leaves the text.
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
        raise InputError(f"strength is {strength}, but what was never seen needs a share: give a number above 0.")
    j = np.arange(
        max(0, -min(offsets, default=0)), len(w) - max(0, max(offsets, default=0))
    )  # those with all neighbours
    c, c_asked = np.zeros(len(j), np.int64), np.zeros(len(i), np.int64)  # a context as one number in base V
    p = np.full(len(i), 1 / V)
    for o in (None, *offsets):  # None: no context at all, how frequent the word is
        if o is not None:
            c, c_asked = c * V + w[j + o], c_asked * V + text[i + o]
        n_cw = _occurrences(c * V + w[j], c_asked * V + text[i])
        p = (n_cw + strength * p) / (_occurrences(c, c_asked) + strength)
    return p


def _occurrences(seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """How often each number that is asked for was seen."""
    seen = np.sort(seen)
    return np.searchsorted(seen, asked, side="right") - np.searchsorted(seen, asked)


def _check_offsets(offsets: tuple[int, ...], i: np.ndarray, T: int, length: int, V: int) -> None:
    if 0 in offsets:
        raise InputError("offsets hold 0, which is the word to be guessed itself: leave it out.")
    low, high = min(offsets, default=0), max(offsets, default=0)
    if i.min() + low < 0 or i.max() + high >= length or T <= max(high, 0) - min(low, 0):
        raise InputError(f"an offset of {low} … {high} leaves the text: take positions i further from its ends.")
    if V ** (len(offsets) + 1) >= 2**63:
        raise InputError(f"{len(offsets)} offsets are too many for a vocabulary of {V}: take fewer.")


def causal_loss(z: np.ndarray, w: np.ndarray, counts: np.ndarray | None = None) -> float:
    r"""L = −1/N Σ log softmax(z_t)(w_{t+1}), row t of `z` [B, T, V] guesses word t + 1 of `w` [B, T].  F23.

    exp(L) is the perplexity. `counts` [B, T], bool, is True for the words that are to be guessed well (None: all); padding
    is not. The first word of a row is never guessed, the last row of z guesses nothing. The shift by one is done here:
    whoever shifts the labels as well trains a model that skips a word.

    Raises InputError for shapes that do not fit, an id outside 0 … V − 1, or if no word counts.
    """
    rows, words = _guessed(z, w, counts)
    return float(-log_softmax(z[rows])[np.arange(len(words)), words].mean())


def causal_loss_gradient(z: np.ndarray, w: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    r"""∂L/∂z [B, T, V] = (ŷ_t − onehot(w_{t+1})) / N in the rows t that guess a word that counts, 0 in the others.  F23.

    L is a mean of N cross-entropies, each with the gradient ŷ − onehot in its own row of z and none in any other.
    """
    rows, words = _guessed(z, w, counts)
    gradient = np.zeros(np.shape(z))
    d = np.exp(log_softmax(z[rows]))
    d[np.arange(len(words)), words] -= 1
    gradient[rows] = d / len(words)
    return gradient


def dialogue_loss(z: np.ndarray, w: np.ndarray, is_answer: np.ndarray) -> float:
    r"""1/M Σ_m ℓ(h(o_m); θ): the causal loss over the answer's words only, `is_answer` [B, T] bool.  F29.

    A dialogue o_m is a question and its answer in one row. The question is read (the rows of z depend on it), but how
    likely it was is nobody's concern. M is the number of the answers' words. Raises InputError as `causal_loss` does.
    """
    return causal_loss(z, w, is_answer)


def dialogue_loss_gradient(z: np.ndarray, w: np.ndarray, is_answer: np.ndarray) -> np.ndarray:
    r"""∂L/∂z [B, T, V]: that of `causal_loss`, 0 in every row that guesses a word of the question.  F29.

    The row of the question's last word is not 0: it guesses the answer's first.
    """
    return causal_loss_gradient(z, w, is_answer)


def _guessed(
    z: np.ndarray, w: np.ndarray, counts: np.ndarray | None
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """(batch, row) of z for each word that is guessed and counts, and those words [N]."""
    check_shape("z", z, "B T V")
    B, T, V = z.shape
    check_shape("w", w, "B T", B=B, T=T)
    check_classes("w", w, V)
    counts = np.ones((B, T), bool) if counts is None else np.asarray(counts)
    check_shape("counts", counts, "B T", B=B, T=T)
    if counts.dtype != bool:
        raise InputError(f"counts has the type {counts.dtype}, but says yes or no: give True where a word counts.")
    b, t = np.nonzero(counts[:, 1:])  # word t + 1 is guessed by row t
    if not len(b):
        raise InputError("no word counts after the first of a row: a mean over nothing has no value.")
    return (b, t), w[b, t + 1]


def sample_word(z: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    r"""One word drawn from softmax(z / τ) for logits `z` [V]; τ = 0 takes the likeliest.  F23, generation.

    τ < 1 makes the likely likelier, τ > 1 the unlikely. Raises InputError for a negative τ.
    """
    check_shape("z", z, "V")
    check_not_empty("z", z)
    if not temperature >= 0:
        raise InputError(
            f"temperature is {temperature}: give a number from 0 up; 1 leaves the probabilities as they are."
        )
    if temperature == 0:
        return int(np.argmax(z))
    return int(rng.choice(len(z), p=np.exp(log_softmax(z / temperature))))
