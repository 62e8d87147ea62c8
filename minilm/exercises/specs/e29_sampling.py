r"""Sampling: temperature, top-k, top-p.  F23.  30 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / e.sum()


def flawed(z, temperature, top_k, top_p, wrong=frozenset()):
    if "late" in wrong:  # the cuts at temperature 1, and the temperature at the end
        kept = np.where(flawed(z, 1.0, top_k, top_p) > 0, z / temperature, -np.inf)
        return softmax(kept)
    if "mean_shift" in wrong:
        e = np.exp((z - z.mean()) / temperature)
        z = np.where(np.isfinite(e).all(), z, np.nan)
    if "one" in wrong:
        top_k = 1
    if "uniform" in wrong:
        z = np.where(flawed(z, temperature, top_k, top_p) > 0, 0.0, -np.inf)
        return softmax(z)
    if "logits" in wrong:
        return np.where(flawed(z, temperature, top_k, top_p) > 0, z / temperature, -np.inf)
    if "log" in wrong:
        return np.log(flawed(z, temperature, top_k, top_p))
    if "squared" in wrong:
        temperature = temperature**2
    if "added" in wrong:
        z, temperature = z + temperature, 1.0
    if "root" in wrong:
        temperature = np.sqrt(temperature)
    order = np.argsort(z if "unlikeliest" in wrong else -z)
    if "after_softmax" in wrong:
        p = softmax(z)[order] / temperature
    elif "times" in wrong:
        p = softmax(z * temperature)[order]
    elif "no_temperature" in wrong:
        p = softmax(z)[order]
    elif "overflow" in wrong:
        p = (np.exp(z / temperature) / np.exp(z / temperature).sum())[order]
    else:
        p = softmax(z / temperature)[order]
    full = p.copy()
    k = top_k + ("one_more" in wrong) - ("one_less" in wrong)
    if "no_k" not in wrong:
        if "zero_logits" in wrong:
            logits = (z / temperature)[order]
            logits[k:] = 0.0
            p = softmax(logits)
        else:
            p[max(k, 0) :] = 0
    q = full if "p_of_all" in wrong else p / p.sum()
    if "zero_logits" in wrong:
        again = np.argsort(-q, kind="stable")
        q, order = q[again], order[again]
    if "no_p" not in wrong:
        reached = np.cumsum(q)
        dropped = reached > top_p if "drops_crossing" in wrong else reached - q >= top_p
        if "rest" in wrong:  # top_p is taken for the share that may be cut off
            dropped = reached - q >= 1 - top_p
        if "one_more_p" in wrong:
            dropped = reached - q >= top_p + q
        if "at_least_2" in wrong:
            dropped[:2] = False
        if "each" in wrong:
            dropped = q < 1 - top_p
        q = np.where(dropped, 0, p if "p_of_all" in wrong else q)
    out = np.zeros(len(z))
    out[order if "sorted" not in wrong else np.arange(len(z))] = q if "not_anew" in wrong else q / q.sum()
    return out


def by_minus_infinity(z, temperature, top_k, top_p):
    """Tokens that are left out get the logit −∞."""
    z = z / temperature
    z = np.where(z >= np.sort(z)[::-1][min(top_k, len(z)) - 1], z, -np.inf)
    p = softmax(z)
    ranked = np.sort(p)[::-1]
    needed = int(np.argmax(np.append(np.cumsum(ranked)[:-1] >= top_p, True))) + 1
    return softmax(np.where(p >= ranked[needed - 1], z, -np.inf))


def word_by_word(z, temperature, top_k, top_p):
    weights = {i: float(np.exp((x - max(z)) / temperature)) for i, x in enumerate(z)}
    best = sorted(weights, key=weights.get, reverse=True)[:top_k]
    total, kept, reached = sum(weights[i] for i in best), [], 0.0
    for i in best:
        kept.append(i)
        reached += weights[i] / total
        if reached >= top_p:
            break
    out = np.zeros(len(z))
    out[kept] = [weights[i] for i in kept]
    return out / out.sum()


def by_ranks(z, temperature, top_k, top_p):
    likelier = z[None, :] > z[:, None]  # [V, V]: the tokens that are more likely than token i
    p = np.where(likelier.sum(1) < top_k, np.exp((z - z.max()) / temperature), 0.0)
    p = np.where(likelier @ p < top_p * p.sum(), p, 0.0)
    return p / p.sum()


def case(*p, temperature=1.0, top_k=100, top_p=1.0, rng=None, plus=0.0):
    """Logits in random order whose softmax at τ is about p; no running sum comes close to top_p."""
    p = np.array(p) * (1 if rng is None else rng.uniform(0.995, 1.005, size=len(p)))
    z = temperature * np.log(p / p.sum()) + plus
    return {"z": z if rng is None else rng.permutation(z), "temperature": temperature, "top_k": top_k, "top_p": top_p}


def probes(rng):
    p = (0.4, 0.25, 0.15, 0.1, 0.06, 0.03, 0.01)
    return {
        "temperature alone": case(*p, temperature=0.5, rng=rng),
        "a high temperature": case(*p, temperature=2.5, rng=rng, plus=3),
        "top-k": case(*p, top_k=3, rng=rng),
        "top-p": case(*p, top_p=0.73, rng=rng),
        "negative logits": case(*p, top_k=2, rng=rng, plus=-8),
        "all three": case(*p, temperature=1.7, top_k=3, top_p=0.75, rng=rng, plus=-2),
    }


def edges(rng):
    p = (0.55, 0.25, 0.12, 0.08)
    return {
        "the first token alone reaches top_p": case(*p, top_p=0.3, rng=rng),
        "top-k of 1": case(*p, top_k=1, rng=rng),
        "logits of a thousand": case(*p, top_k=3, rng=rng, plus=1e3),
        "a temperature near 0": case(*p, rng=rng) | {"temperature": 1e-3},
        "one token": case(1.0),
        "one logit far above the others": {
            "z": np.array([0.0, 3e3, 1.0, 2.0]),
            "temperature": 1.0,
            "top_k": 2,
            "top_p": 1.0,
        },
        "top-k of all": case(*p, top_k=4, rng=rng),
        "a large vocabulary": case(*(0.8 ** np.arange(60)), top_k=25, top_p=0.905, temperature=1.3, rng=rng),
    }


MISTAKES = """  key · what it looks like · a question
after_softmax · the probabilities are divided by the temperature, after the softmax ·
    if you divide all probabilities by τ and renormalise, has anything changed?
times · the logits are multiplied by the temperature ·
    a high temperature makes the choice more random: what makes the differences between logits smaller?
no_temperature · the temperature is ignored ·
    what does τ = 2 change in your result?
overflow · exp is applied to the logits as they are ·
    what does a computer return for exp(1000)?
drops_crossing · top-p drops the token that crosses the bound ·
    the most likely token has 0.55 and top_p is 0.3: what is left to draw from?
p_of_all · top-p adds up probabilities among all tokens, not among those that top-k kept ·
    after top-k, do your probabilities sum to 1 before you add them up?
each · top-p looks at each token's own probability, not at the sum ·
    top_p = 0.9 asks for the smallest set of tokens: what must this set sum to?
no_p · top-p is ignored ·
    how many tokens do you keep when top_p is 0.3?
no_k · top-k is ignored ·
    how many tokens do you keep when top_k is 2?
one_more · top-k keeps one token too many, for example by keeping ties with the k-th or by >= instead of > ·
    how many tokens are above the bound that you compare with?
one_less · top-k keeps one token too few ·
    if top_k is 1, which token is left?
zero_logits · tokens that are left out get the logit 0 ·
    how much is exp(0), and is that small if all other logits are negative?
not_anew · what is left is not renormalised ·
    what do your probabilities sum to?
sorted · the probabilities are returned in sorted order ·
    to which token does the first entry of your result belong?
unlikeliest · the least likely tokens are kept ·
    in which order does argsort sort numbers?
late · the two cuts are made at temperature 1, and the temperature comes at the end ·
    which probabilities does top-p add up, those with or those without the temperature?
mean_shift · the logits are shifted by their mean before exp, which can still overflow ·
    what is exp of a logit that is 1000 above the mean?
one · only the most likely token is left ·
    how many tokens do you keep when top_k is 3?
uniform · all tokens that are left are equally likely ·
    should the most likely token still be drawn most often?
logits · these are the logits, not the probabilities ·
    what do your numbers sum to?
log · these are the logarithms of the probabilities ·
    what do your numbers sum to?
squared · the logits are divided by the temperature twice ·
    where does the temperature stand in your code, and how often?
root · the logits are divided by the root of the temperature ·
    softmax(z / τ): is there a root in it?
added · the temperature is added to the logits ·
    if you add 5 to all logits, does the softmax change?
rest · top_p is taken for the share that is cut off ·
    top_p = 0.9: do you keep nine tenths, or one tenth?
one_more_p · top-p keeps tokens after the sum has reached top_p ·
    the first two tokens sum to top_p: is the third one needed?
at_least_2 · top-p always keeps two tokens ·
    the most likely token has 0.55 and top_p is 0.3: how many are needed?
"""
FAMILY = dict.fromkeys(
    ("after_softmax", "no_temperature", "added"), "no temperature"
)  # once renormalised, they are the same

EXERCISE = Exercise(
    target="minilm.models.sampling.sampling_probabilities",
    section=("11", "Letting it write"),
    task="A model writes by drawing one token after the other. Compute the probabilities from which the next token is drawn: "
    "apply first the temperature, then top-k, then top-p.",
    returns={"p": "word"},
    tiny=lambda: {"z": np.log([0.1, 0.5, 0.15, 0.25]), "temperature": 1.0, "top_k": 3, "top_p": 0.7},
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "the probabilities sum to 1",
            lambda rng: {"all three": case(0.4, 0.3, 0.2, 0.1, top_k=3, top_p=0.6, rng=rng)},
            lambda p: abs(p.sum() - 1) < 1e-9,
        ),
    ),
    needs=("softmax",),
    forbidden=("sampling_probabilities",),
    steps=(
        "the tokens in order, the most likely first, and their softmax at the temperature",
        "all but the first top_k become 0; renormalise the rest (divide it by its sum)",
        "a token is needed as long as those before it sum to less than top_p; the others become 0",
        "restore the order of the vocabulary, and renormalise",
    ),
    right={"minus infinity": by_minus_infinity, "word by word": word_by_word, "ranks": by_ranks},
    wrong=listed(MISTAKES, families=FAMILY),
    flawed=flawed,
    hints=(
        "Temperature changes how strongly likely tokens are preferred. Top-k and top-p cut off the long tail: tokens that are "
        "each unlikely, but likely together. Whatever you cut off, the rest must be a distribution again.",
        "z [V] → z / τ → softmax [V] → sorted, the largest first → the first k, renormalised → running sums: keep token i if "
        "the tokens before it sum to less than top_p → renormalised, back in the old order.",
        "i = indices that sort z from large to small;  q = softmax(z/τ)[i];  q after the k-th = 0, q over its sum;  "
        "sum before each = cumulative sum of q, minus q;  q = 0 where that is at least top_p;  p[i] = q over its sum",
    ),
)
