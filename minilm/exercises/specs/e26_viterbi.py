r"""Viterbi: the best path of tags.  F31.  40 minutes, hard."""

import itertools

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed
from minilm.exercises.specs.e25_crf_log_z import closed, crf, low


def flawed(E, A, start, end, attention_mask=None, wrong=frozenset()):
    B, T, K = E.shape
    given = np.ones((B, T), bool) if attention_mask is None else attention_mask
    given = np.broadcast_to(given[:1], given.shape) if "first_length" in wrong else given
    attention_mask = np.ones((B, T), bool) if "padding" in wrong else given
    A = A.T if "transposed" in wrong else A
    A = np.maximum(A, -100.0) if "allowed" in wrong else A
    start, end = (end, start) if "exchanged" in wrong else (start, end)
    if "ties" in wrong:  # of equal scores, the higher tag
        turn = {**{"E": E[..., ::-1], "A": A[::-1, ::-1]}, "start": start[::-1], "end": end[::-1]}
        y, score = flawed(**turn, attention_mask=attention_mask)
        return np.where(y >= 0, K - 1 - y, y), score
    if "worst" in wrong:
        y, score = flawed(-E, np.where(np.isfinite(A), -A, A), -start, -end, attention_mask)
        return y, -score
    if "greedy" in wrong:
        A, start, end = 0 * A.clip(-1e9), 0 * start, 0 * end
    start = 0 * start if "no_start" in wrong else start
    stop = 0 * end if "no_end" in wrong else end
    delta, came_from = start + (0 if "no_first" in wrong else E[:, 0]), np.zeros((B, T, K), dtype=np.int64)
    delta, all_delta = np.broadcast_to(delta, (B, K)), []
    for t in range(1, T):
        all_delta.append(delta)
        ways = delta[:, :, None] + A
        if "sum" in wrong:
            best = np.logaddexp.reduce(ways, axis=1)
        else:
            best = ways.max(1)
        came = ways.argmax(2 if "axis" in wrong else 1)
        if "from_0" in wrong:  # ways with a negative score are never taken
            came, best = np.where(best > 0, came, 0), np.maximum(best, 0.0)
        came_from[:, t] = np.where(attention_mask[:, t, None], came, np.arange(K) if "lost" not in wrong else 0)
        delta = np.where(attention_mask[:, t, None], best + (0 if "no_emission" in wrong else E[:, t]), delta)
    all_delta.append(delta)
    y_hat, rows = np.zeros((B, T), dtype=np.int64), np.arange(B)
    last = (delta + (0 if "last_without_end" in wrong else stop)).argmax(1)
    y_hat[:, -1] = 0 if "last_0" in wrong else last
    for t in range(T - 1, 0, -1):
        if "off_by_one" in wrong:
            y_hat[:, t - 1] = came_from[rows, t - 1, y_hat[:, t]]
        elif "forwards" in wrong:
            y_hat[:, t - 1] = came_from[rows, t, last]
        else:
            y_hat[:, t - 1] = came_from[rows, t, y_hat[:, t]]
    if "unchained" in wrong:
        y_hat = np.stack([*(d.argmax(1) for d in all_delta[:-1]), last], axis=1)
    score = (delta + stop).max(1)
    if "score_sum" in wrong:
        score = np.logaddexp.reduce(delta + stop, axis=1)
    if "score_mean" in wrong:
        score = score / given.sum(1)
    if "score_e" in wrong:
        score = np.array([E[b, given[b]][np.arange(given[b].sum()), y_hat[b, given[b]]].sum() for b in range(B)])
    if "from_1" in wrong:
        y_hat = y_hat + 1
    if "zero_padding" in wrong:
        return np.where(given, y_hat, 0), score
    if "length_1" in wrong and T == 1:
        y_hat = E[:, 0].argmax(1)[:, None]
    y_hat = y_hat if "not_ignored" in wrong else np.where(given, y_hat, -100)
    if "start_returned" in wrong:
        y_hat = np.concatenate([np.full((B, 1), K), y_hat, np.full((B, 1), K + 1)], axis=1)
    if "start_kept" in wrong:
        y_hat = np.concatenate([np.full((B, 1), K), y_hat], axis=1)[:, :-1]
    if "reversed" in wrong:
        y_hat = y_hat[:, ::-1]
    return y_hat, (delta.max(1) if "score_without_end" in wrong else score)


def every_path(E, A, start, end, attention_mask=None):
    out, scores = np.full(E.shape[:2], -100), np.zeros(len(E))
    for b in range(len(E)):
        n = E.shape[1] if attention_mask is None else int(attention_mask[b].sum())
        y = np.array(list(itertools.product(range(E.shape[2]), repeat=n)))  # [Kᵀ, T]
        s = start[y[:, 0]] + end[y[:, -1]] + E[b, np.arange(n), y].sum(1) + A[y[:, :-1], y[:, 1:]].sum(1)
        out[b, :n], scores[b] = y[s.argmax()], s.max()
    return out, scores


def emission_inside(E, A, start, end, attention_mask=None):
    """The emission is added before the argmax: it is the same for all ways into a tag."""
    B, T, K = E.shape
    y_hat, best = np.full((B, T), -100), np.zeros(B)
    for b in range(B):
        words = E[b] if attention_mask is None else E[b][attention_mask[b]]
        delta, came_from = start + words[0], []
        for word in words[1:]:
            ways = delta[:, None] + A + word
            came_from.append(ways.argmax(0))
            delta = ways.max(0)
        delta = delta + end
        path = [int(delta.argmax())]
        for came in came_from[::-1]:
            path.insert(0, int(came[path[0]]))
        y_hat[b, : len(path)], best[b] = path, delta.max()
    return y_hat, best


def whole_paths(E, A, start, end, attention_mask=None):
    """Without pointers: every tag carries its own best path."""
    rows, scores = [], []
    for b, sentence in enumerate(E):
        n = len(sentence) if attention_mask is None else int(sum(attention_mask[b]))
        best = [(start[j] + x, [j]) for j, x in enumerate(sentence[0])]
        for word in sentence[1:n]:
            best = [
                max(((s + A[p[-1], j] + x, p + [j]) for s, p in best), key=lambda each: each[0])
                for j, x in enumerate(word)
            ]
        score, path = max(((s + end[p[-1]], p) for s, p in best), key=lambda each: each[0])
        rows.append(path + [-100] * (len(sentence) - n))
        scores.append(score)
    return np.array(rows), np.array(scores)


def from_the_right(E, A, start, end, attention_mask=None):
    """Find the best way to the end from every tag, then read the path forwards."""
    B, T, K = E.shape
    y_hat, scores = np.full((B, T), -100), []
    for b in range(B):
        n = T if attention_mask is None else np.count_nonzero(attention_mask[b])
        ahead, go = end, np.zeros((n, K), int)
        for t in range(n - 1, 0, -1):
            ways = A + (E[b, t] + ahead)[None]
            go[t - 1], ahead = ways.argmax(1), ways.max(1)
        first = start + E[b, 0] + ahead
        y_hat[b, 0] = first.argmax()
        for t in range(1, n):
            y_hat[b, t] = go[t - 1, y_hat[b, t - 1]]
        scores.append(first.max())
    return y_hat, np.array(scores)


def telling(rng, *lengths, T, K, **more):
    """Large transitions, and start and end scores that outweigh the first and last emission, so that all of them matter."""
    made = crf(rng, *lengths, T=T, K=K, **more)
    A, start, end = 2 * made["A"], 2.5 * rng.permutation(K), 2.5 * rng.permutation(K)
    return {**made, "A": A, "start": start + made["start"], "end": end + made["end"]}


def probes(rng):
    loud = telling(rng, 6, 2, 3, 4, 5, T=6, K=3)
    loud["E"][~loud["attention_mask"]] += 50 * rng.random((10, 3))
    return {
        "eight sentences": telling(rng, *[7] * 8, T=7, K=4, padded=False),
        "ragged sentences": telling(rng, 2, 5, 4, 3, 5, 1, T=5, K=3),
        "padding with large scores": loud,
        "forbidden steps": telling(rng, 5, 4, 5, T=5, K=4, forbidden=[(0, 2), (1, 3)]),
        "equal scores at every word": {
            **telling(rng, 5, 5, 5, T=5, K=3, padded=False),
            **{"A": np.zeros((3, 3)), "start": np.zeros(3), "end": np.zeros(3)},
            "E": rng.integers(2, size=(3, 5, 3)) * 2.0,
        },
        "many words": telling(rng, *[9] * 8, T=9, K=3, padded=False),
    }


def edges(rng):
    return {
        "single words": telling(rng, *[1] * 6, T=1, K=4),
        "scores of a thousand": crf(rng, 3, 2, T=3, K=3, scale=1e3),
        "scores far below zero": {**(deep := telling(rng, 4, 3, T=4, K=3)), "E": deep["E"] - 1e12},
        "a forbidden step among very unlikely ones": low(rng, -1e12),
        "tags that cannot begin or end a sentence": closed(rng),
        "a word and much padding": telling(rng, 1, 6, T=6, K=3),
        "a single tag": crf(rng, 3, T=3, K=1),
        "300 tags": {**(many := telling(rng, 2, 2, T=2, K=300)), "E": many["E"] + 1e4 * np.eye(300)[[290, 7]]},
    }


MISTAKES = """  key · what it looks like · a question
unchained · every word takes its own best tag, and the pointers are not followed ·
    the best path to tag 2 came from some tag of the word before: must that be the best tag there?
forwards · every pointer is read at the last tag instead of at the tag that was just found ·
    once you know the tag of the second-to-last word, whose pointer comes next?
off_by_one · the pointers are read one word off ·
    came_from at word t names a tag of which word?
last_0 · the path is traced back from tag 0 instead of from the best last tag ·
    with which tag does the best path end?
last_without_end · the last tag is chosen without the end scores ·
    what must still be added after the last word?
no_end · the end scores are missing ·
    which scores say how well a sentence ends with each tag?
no_start · the start scores are missing ·
    which scores say how well a sentence begins with each tag?
no_first · the emission of the first word is missing ·
    where do you add E[:, 0]?
no_emission · the emissions of all words but the first are missing ·
    where in your loop do you add the emission of word t?
transposed · the transitions are transposed ·
    A[i, j] leads from i to j: along which axis do you find all ways into j?
axis · the pointers are taken along a different axis than the scores ·
    do you need one pointer per tag that you come from, or per tag that you go to?
greedy · every word is tagged on its own ·
    what are A, start and end for?
sum · the sum over all paths is taken instead of the best path ·
    are you computing the best path, or log Z?
padding · padding is counted as words ·
    a sentence of 2 words in a batch of length 5: at which word does its path end?
first_length · all sentences get the length of the first one ·
    whose row of attention_mask do you read?
lost · in padding the pointers are 0 instead of pointing to the same tag ·
    when you trace back through padding, with which tag should you arrive at the last word?
not_ignored · padding gets tags instead of −100 ·
    what does the docstring say about padding?
start_returned · START and STOP are part of the path that is returned ·
    how many tags does a sentence of T words have?
start_kept · START stands in front of the path, and the last tag is lost ·
    is the first entry of your path really a tag?
length_1 · a single word is tagged by its emission alone ·
    a sentence of one word begins and ends with it: what must you add to its emission?
reversed · the path is returned backwards ·
    in which order did you collect the tags?
score_without_end · the score does not include the end score ·
    is the score that you return the score of the whole path?
score_sum · the path is right, but the score is summed over the last tags ·
    is the score that you return the score of one path?
score_mean · the score is divided by the number of words ·
    is the score that you return the score of the whole path?
score_e · the score contains only the emissions of the path ·
    what else is added up in the score of a path?
ties · if scores are equal, the higher tag wins ·
    two tags have the same score: which one does the docstring ask for?
from_0 · the search for the best way starts at 0, so negative scores are never taken ·
    which score is lower than your first value of "best"?
worst · it is the worst path ·
    do you look for the largest or for the smallest score?
exchanged · start and end scores are exchanged ·
    which of the two belongs to the first word?
allowed · a forbidden step gets a large negative score instead of −∞ ·
    all other steps are below −100: is your forbidden step still impossible?
from_1 · the tags are counted from 1 ·
    which number has the first tag?
zero_padding · padding gets the tag 0 instead of −100 ·
    what does the docstring say about padding?
"""

EXERCISE = Exercise(
    target="minilm.formulas.crf.viterbi",
    section=("14", "The CRF: forward, by hand"),
    task="Find the best of all Kᵀ tag paths without visiting them one by one. The score of a path is start(y₁) + Σ E[t, yₜ] + Σ "
    "A[yₜ, yₜ₊₁] + end(y_last). (`minilm predict` reads the tags of a tagger with a CRF so: minilm/layers/crf.py.)",
    docstring=r"""The best path ŷ [B, T] (int64, −100 in padding) and its score [B], for emissions E [B, T, K], transitions A [K, K]
    from row to column, start and end [K]. `attention_mask` [B, T] is True for words and False for the padding after them; None:
    all are words. If scores are equal, the lower tag wins.  F31.""",
    returns={"ŷ": "batch word", "score": "batch"},
    tiny=lambda: {
        "E": np.array([[[1.0, 0.0], [0.0, 2.0], [0.5, 0.0]]]),
        "A": np.array([[0.0, -3.0], [1.0, 0.5]]),
        "start": np.array([0.5, 0.0]),
        "end": np.array([0.0, 1.5]),
        "attention_mask": np.array([[True, True, True]]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "adding 2 to every tag of one word keeps the path and adds 2 to its score",
            lambda rng: {"a": (m := telling(rng, 4, 4, T=4, K=3)), "b": {**m, "E": m["E"] + np.eye(4)[2][:, None] * 2}},
            lambda a, b: (a[0] == b[0]).all() and np.allclose(b[1] - a[1], 2),
        ),
    ),
    needs=("crf_log_z",),
    forbidden=("viterbi",),
    steps=(
        "δ [B, K]: the score of the best path that ends in each tag at the first word",
        "word by word: of all ways into each tag [B, from, to], keep the best score, plus the word's emission, and remember "
        "where it came from",
        "in padding, δ stays as it is, and each tag points to itself",
        "the best last tag, including the end scores; then trace back, always from the tag that was just found; −100 in padding",
    ),
    right={
        "every path": every_path,
        "the emission inside the argmax": emission_inside,
        "whole paths": whole_paths,
        "from the right": from_the_right,
    },
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "The best path into tag j came from some tag i, and up to there it was the best path into i. So K numbers per word are "
        "enough, plus a note for each of them: where did it come from?",
        "δ = start + E[:, 0] [B, K] → for each further word: δ [B, i, 1] + A [i, j]; its argmax over i is the note, its maximum "
        "plus E[:, t] is the new δ → argmax of δ + end → follow the notes from the last word back to the first.",
        "for t = 1 …: ways = delta_i + A_ij;  note[t] = argmax over i;  delta = max over i + E[t];  tag = argmax(delta + end);  "
        "for t = last … 1: tag = note[t][tag], which is the tag of word t − 1",
    ),
)
