r"""The CRF: log Z by the forward pass.  F31.  40 minutes, hard."""

import itertools

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed(E, A, start, end, attention_mask=None, wrong=frozenset()):
    B, T, K = E.shape
    attention_mask = np.ones((B, T), bool) if attention_mask is None or "padding" in wrong else attention_mask

    def total(scores, axis):
        if "mean" in wrong:
            return np.logaddexp.reduce(scores, axis=axis) - np.log(scores.shape[axis])
        if "one_max" in wrong:
            top = scores.max()
            return np.log(np.exp(scores - top).sum(axis)) + top
        if wrong & {"mean_shift", "unreachable"}:
            top = np.where(np.isfinite(scores), scores, 0).mean(axis, keepdims=True)
            top = scores.max(axis, keepdims=True) if "unreachable" in wrong else top
            return np.log(np.exp(scores - top).sum(axis)) + top.squeeze(axis)
        if "max_lost" in wrong:
            return np.logaddexp.reduce(scores, axis=axis) - scores.max(axis)
        if "plain_sum" in wrong:
            return scores.sum(axis)
        if "max" in wrong:
            return scores.max(axis)
        if "overflow" in wrong:
            return np.log(np.exp(scores).sum(axis))
        return np.logaddexp.reduce(scores, axis=axis)

    A = A.T if "transposed" in wrong else A
    A = np.maximum(A, -100.0) if "allowed" in wrong else 2 * A if "twice" in wrong else A
    E = 2 * E if "emissions_twice" in wrong else E
    start, end = (end, start) if "exchanged" in wrong else (start, end)
    if "log_E" in wrong:
        E = E - np.logaddexp.reduce(E, axis=-1)[..., None]
    if "first_length" in wrong:
        attention_mask = np.broadcast_to(attention_mask[:1], attention_mask.shape)
    if "into_row" in wrong:
        A = A - np.logaddexp.reduce(A, axis=1)[:, None]
    alpha = (0 if "no_start" in wrong else start) + (0 if "no_first" in wrong else E[:, 0])
    alpha = np.broadcast_to(alpha, (B, K)) + ("start_1" in wrong)
    for t in range(1, T - ("last_word" in wrong)):
        if "no_transitions" in wrong:
            step = E[:, t] + total(alpha, 1)[:, None]
        else:
            step = total(alpha[:, :, None] + A, 1)
            step = step if "emission_once" in wrong else step + E[:, t - 1 if "early" in wrong else t]
        step = step + (end if "end_each" in wrong else 0)
        if "zeroed" in wrong:
            alpha = np.where(attention_mask[:, t, None], step, 0.0)
        else:
            alpha = np.where(attention_mask[:, t - 1 if "mask_late" in wrong else t, None], step, alpha)
    if "no_log" in wrong:
        return np.exp(total(alpha + end, 1))
    if "sign" in wrong:
        return -total(alpha + end, 1)
    if "no_sum" in wrong:
        return (alpha + end).max(1)
    return total(alpha + (0 if "no_end" in wrong else end), 1)


def every_path(E, A, start, end, attention_mask=None):
    out = []
    for b in range(len(E)):
        n = E.shape[1] if attention_mask is None else int(attention_mask[b].sum())
        y = np.array(list(itertools.product(range(E.shape[2]), repeat=n)))  # [Kᵀ, T]
        s = start[y[:, 0]] + end[y[:, -1]] + E[b, np.arange(n), y].sum(1) + A[y[:, :-1], y[:, 1:]].sum(1)
        out.append(s.max() + np.log(np.exp(s - s.max()).sum()))
    return np.array(out)


def from_the_right(E, A, start, end, attention_mask=None):
    B, T, _ = E.shape
    attention_mask = np.ones((B, T), bool) if attention_mask is None else attention_mask
    beta = np.tile(end, (B, 1))
    for t in reversed(range(1, T)):
        ahead = np.logaddexp.reduce(A[None] + (E[:, t] + beta)[:, None, :], axis=2)
        beta = np.where(attention_mask[:, [t]], ahead, beta)
    return np.logaddexp.reduce(start + E[:, 0] + beta, axis=1)


def products(E, A, start, end, attention_mask=None):
    """The sums of exponentials are matrix products; the maximum is taken out at every word and kept as a logarithm."""
    out, shift = [], A.max()
    steps = np.exp(A - shift)
    for b, emissions in enumerate(E):
        words = emissions if attention_mask is None else emissions[attention_mask[b]]
        score, log_scale = start + words[0], 0.0
        for word in words[1:]:
            top = score.max()
            with np.errstate(divide="ignore"):
                score = np.log(np.exp(score - top) @ steps) + word
            log_scale += top + shift
        score = score + end
        out.append(log_scale + score.max() + np.log(np.exp(score - score.max()).sum()))
    return np.array(out)


def tag_by_tag(E, A, start, end, attention_mask=None):
    B, T, K = E.shape
    Z = np.zeros(B)
    for b in range(B):
        alpha = [start[j] + E[b, 0, j] for j in range(K)]
        for t in range(1, T):
            if attention_mask is not None and not attention_mask[b, t]:
                break
            alpha = [E[b, t, j] + np.logaddexp.reduce([alpha[i] + A[i, j] for i in range(K)]) for j in range(K)]
        Z[b] = np.logaddexp.reduce([a + e for a, e in zip(alpha, end)])
    return Z


def crf(rng, *lengths, T, K, scale=1.0, forbidden=(), padded=True):
    A = rng.normal(size=(K, K))
    for step in forbidden:
        A[step] = -np.inf
    return {
        "E": rng.normal(scale=scale, size=(len(lengths), T, K)),
        "A": A,
        "start": rng.normal(size=K),
        "end": rng.normal(size=K),
        "attention_mask": np.arange(T) < np.array(lengths)[:, None] if padded else None,
    }


def probes(rng):
    ragged = crf(rng, 5, 2, 4, T=5, K=3)
    ragged["E"][~ragged["attention_mask"]] = 1e3
    return {
        "ragged sentences": crf(rng, 5, 2, 4, T=5, K=3),
        "no padding": crf(rng, 4, 4, T=4, K=5, padded=False),
        "padding with scores of a thousand": ragged,
        "a forbidden step": crf(rng, 4, 3, T=4, K=3, forbidden=[(0, 2)]),
    }


def edges(rng):
    raised = crf(rng, 4, 2, T=4, K=3)
    raised["E"] = raised["E"] + 1e3  # whatever numbers are drawn, their exp overflows
    return {
        "every word's scores raised by a thousand": raised,
        "a single word": crf(rng, 1, 1, T=1, K=4),
        "a word and much padding": crf(rng, 1, 4, T=4, K=3),
        "scores of a thousand": crf(rng, 3, 2, T=3, K=3, scale=1e3),
        "a single tag": crf(rng, 3, T=3, K=1),
        "tags that cannot begin or end a sentence": closed(rng),
        "two sentences far apart": apart(rng),
        "a forbidden step among very unlikely ones": low(rng, -1e20),
        "a tag that no step leads to": crf(rng, 4, 2, T=4, K=3, forbidden=[(slice(None), 1)]),
    }


def apart(rng):
    made = crf(rng, 3, 3, T=3, K=3)
    return {**made, "E": made["E"] + np.array([2e3, -2e3])[:, None, None]}


def low(rng, size):
    """All steps are nearly impossible, and one of them is forbidden."""
    made = crf(rng, 3, 3, T=3, K=3)
    return {**made, "A": np.where(np.arange(9).reshape(3, 3) == rng.integers(9), -np.inf, size)}


def closed(rng):
    """Tags 0 and 2 cannot begin a sentence, tag 1 cannot end one, and two steps are forbidden; every tag can be reached."""
    made = crf(rng, 4, 3, T=4, K=4, forbidden=[(0, 2), (1, 3)])
    made["start"][[0, 2]], made["end"][1] = -np.inf, -np.inf
    return made


def shifted(rng):
    made = crf(rng, 4, 4, T=4, K=3)
    return {"a sentence": made, "2 more for every tag of a word": {**made, "E": made["E"] + np.eye(4)[1][:, None] * 2}}


def flat(rng):
    made = {name: 0 * x for name, x in crf(rng, 4, 4, T=4, K=3).items()}
    return {"all scores 0": {**made, "attention_mask": np.ones((2, 4), bool)}}


MISTAKES = """  key · what it looks like · a question
start_1 · the score before the first word is 1 instead of 0 ·
    scores are logarithms: what is the logarithm of the factor 1, which changes nothing?
transposed · the transitions are transposed ·
    A[i, j] leads from i to j: along which axis do you find all ways into j?
no_first · the emission of the first word is missing ·
    at which t does your loop begin, and where do you add E[:, 0]?
no_start · the start scores are missing ·
    which scores say how well a sentence begins with each tag?
no_end · the end scores are missing ·
    which scores say how well a sentence ends with each tag?
end_each · the end scores are added at every word ·
    how many ends does a sentence have?
padding · padding is counted as words ·
    a sentence of 2 words in a batch of length 5: how many tag paths does it have?
mask_late · the mask is read one word too late, so the first padding position still counts ·
    step t leads into word t: should you look up the mask at t − 1 or at t?
zeroed · α is set to 0 in padding instead of staying as it was ·
    where does a short sentence keep the sum that it has collected so far?
max · the score of the best path is taken instead of the sum over all paths ·
    are you computing log Z, or what Viterbi computes?
no_sum · the last sum over the tags is a maximum ·
    with how many different tags can a sentence end?
overflow · exp is applied to the scores as they are ·
    what does a computer return for exp(1000)?
last_word · the last word is left out ·
    what is the last t of your loop?
emission_once · the emissions of all words but the first are missing ·
    where in your loop do you add the emission of word t?
early · each step adds the emission of the previous word ·
    when you step into word t, which word's emission do you add?
no_transitions · the transitions are missing ·
    which scores connect each word with the next one?
into_row · each row of A is normalised to probabilities ·
    are the entries of A log-probabilities, or scores of any size that only Z normalises?
log_E · the emissions of each word are normalised to probabilities ·
    are the entries of E log-probabilities, or scores of any size that only Z normalises?
mean · the mean over the tags is taken instead of the sum ·
    if all scores are 0, what is the logarithm of the number of paths?
one_max · one maximum is subtracted from the whole batch instead of one from each row ·
    one sentence has scores of 2000 and another of −2000: what is exp(−4000)?
mean_shift · the mean is subtracted before exp instead of the maximum ·
    one score is 1000 above the mean of the others: what is its exp?
unreachable · a tag that no step leads to gives NaN, because −∞ is subtracted from −∞ ·
    if all ways into a tag have the score −∞, what is the largest of them?
max_lost · the maximum that is subtracted before exp is not added back after log ·
    log Σ exp(s − m) is not log Σ exp s: what is the difference?
plain_sum · the scores are added up: there is neither exp nor log ·
    Z is a sum of exp(score): where is the exp in your code?
allowed · a forbidden step gets a large negative score instead of −∞ ·
    all other scores are below −100: is your forbidden step still impossible?
twice · the transitions are counted twice ·
    how often does A[yₜ, yₜ₊₁] stand in the score of a path?
emissions_twice · the emissions are counted twice ·
    how often does E[t, yₜ] stand in the score of a path?
exchanged · start and end scores are exchanged ·
    which of the two belongs to the first word?
first_length · all sentences get the length of the first one ·
    whose row of attention_mask do you read?
no_log · this is Z itself, without the logarithm ·
    how large is exp(1000) on a computer?
sign · this is minus log Z ·
    the loss is log Z minus the score: which sign does log Z have in it, and which one is asked for?
"""

EXERCISE = Exercise(
    target="minilm.formulas.crf.log_z",
    section=("14", "The CRF: forward, by hand"),
    task="Sum over all Kᵀ tag paths without visiting them one by one. The score of a path is start(y₁) + Σ E[t, yₜ] + Σ A[yₜ, "
    "yₜ₊₁] + end(y_last), and log Z is the logarithm of the sum of exp(score) over all paths. "
    "(`minilm finetune --crf` trains with the same in PyTorch, minilm/layers/crf.py.)",
    docstring=r"""log Z [B] = log Σ over all paths of exp(score), for emissions E [B, T, K], transitions A [K, K] from row to column,
    start and end [K]. `attention_mask` [B, T] is True for words and False for the padding after them; None: all are words. A
    forbidden step has the score −∞.  F31.""",
    returns={"log Z": "batch"},
    tiny=lambda: {
        "E": np.array([[[1.0, 0.0], [0.0, 2.0]]]),
        "A": np.array([[0.0, 1.0], [-1.0, 0.0]]),
        "start": np.array([0.5, 0.0]),
        "end": np.array([0.0, 0.5]),
        "attention_mask": np.array([[True, True]]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property("if all scores are 0, log Z counts the paths: log Kᵀ", flat, lambda Z: np.allclose(Z, 4 * np.log(3))),
        Property("adding 2 to every tag of one word adds 2 to log Z", shifted, lambda a, b: np.allclose(b - a, 2)),
    ),
    needs=("log_softmax",),
    forbidden=("log_z", "forward", "crf_loss", "marginals"),
    steps=(
        "α [B, K]: for every tag, the log of the sum over all paths that end in it at the first word",
        "word by word: α of the previous word plus the transition, for all ways into each tag [B, from, to]; take "
        "the log-sum-exp over `from`, then add the word's emission",
        "in padding, α stays as it is",
        "after the last word: add the end scores and take the log-sum-exp over the tags [B]",
    ),
    right={
        "every path": every_path,
        "from the right": from_the_right,
        "matrix products": products,
        "tag by tag": tag_by_tag,
    },
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "All paths that reach tag i at some word continue in the same ways. So it is enough to keep one number for each tag: "
        "the log of the sum over all paths that reach it. That is K numbers per word instead of Kᵀ paths.",
        "α = start + E[:, 0] [B, K] → for t = 1 … T − 1: α [B, i, 1] + A [i, j] → log-sum-exp over i → + E[:, t] [B, j]; keep "
        "the old α where word t is padding → log-sum-exp over the tags of α + end [B].",
        "alpha = start + first emissions;  for each further t: new = E[t] + LSE over i of (alpha_i + A_ij);  alpha = new where "
        "the mask is True, else alpha;  return LSE over j of (alpha_j + end_j);  LSE: numpy's logaddexp.reduce, or subtract the "
        "maximum yourself",
    ),
)
