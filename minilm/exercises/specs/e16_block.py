r"""The Transformer block, in both orders.  F20.  30 minutes, medium."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong, listed
from minilm.formulas.attention import fused_self_attention
from minilm.formulas.transformer import feed_forward, gelu, layer_norm, parts, post_norm_block, pre_norm_block


def outcome(part, name, wrong):
    """What a part adds: nothing, its negative, or twice as much, if the mistake is about this part."""
    return part * (0 if f"no_{name}" in wrong else -1 if f"minus_{name}" in wrong else 1)


def flawed_post(X, weights, H, may_attend=None, wrong=frozenset()):
    attention, norm_1, ffn, norm_2 = parts(weights)
    H = 1 if "one_head" in wrong else H
    if "swapped" in wrong:
        return pre_norm_block(X, weights, H, may_attend)
    if "one_norm" in wrong:
        norm_2 = norm_1
    if "norms_exchanged" in wrong:
        norm_1, norm_2 = norm_2, norm_1
    mask = None if "no_mask" in wrong else may_attend
    X = layer_norm(X, *norm_1) if "extra_norm" in wrong else X
    if "network_first" in wrong:
        U = layer_norm(X + feed_forward(X, *ffn), *norm_2)
        return layer_norm(U + fused_self_attention(U, *attention, H, mask), *norm_1)
    A = outcome(fused_self_attention(X, *attention, H, mask), "attention", wrong)
    if "parallel" in wrong:
        return layer_norm(layer_norm(X + A, *norm_1) + feed_forward(X, *ffn), *norm_2)
    if "inside" in wrong:  # the norm is applied to the part, not to the sum
        U = X + layer_norm(A, *norm_1)
        return U + layer_norm(feed_forward(U, *ffn), *norm_2)
    kept = 0 if wrong & {"no_residual", "no_residual_1"} else layer_norm(X, *norm_1) if "adds_norm" in wrong else X
    kept = kept + A if "twice" in wrong else kept
    U = kept + A if "no_norm_1" in wrong else layer_norm(kept + A, *norm_1)
    kept = 0 if wrong & {"no_residual", "no_residual_2"} else layer_norm(U, *norm_2) if "adds_norm" in wrong else U
    kept = X if "from_x" in wrong else kept
    S = kept + outcome(feed_forward(U, *ffn), "network", wrong)
    S = S + U if "twice" in wrong else S
    return S if "no_norm_2" in wrong else layer_norm(S, *norm_2)


def flawed_pre(X, weights, H, may_attend=None, wrong=frozenset()):
    attention, norm_1, ffn, norm_2 = parts(weights)
    H = 1 if "one_head" in wrong else H
    if "swapped" in wrong:
        return post_norm_block(X, weights, H, may_attend)
    if "one_norm" in wrong:
        norm_2 = norm_1
    if "norms_exchanged" in wrong:
        norm_1, norm_2 = norm_2, norm_1
    mask = None if "no_mask" in wrong else may_attend
    if "network_first" in wrong:
        U = X + feed_forward(layer_norm(X, *norm_2), *ffn)
        return U + fused_self_attention(layer_norm(U, *norm_1), *attention, H, mask)
    N = layer_norm(X, *norm_1)
    A = fused_self_attention(X if "no_norm_1" in wrong else N, *attention, H, mask)
    A = outcome(A, "attention", wrong)
    if "parallel" in wrong:
        return X + A + feed_forward(layer_norm(X, *norm_2), *ffn)
    if "inside" in wrong:
        U = X + layer_norm(fused_self_attention(X, *attention, H, mask), *norm_1)
        return U + layer_norm(feed_forward(U, *ffn), *norm_2)
    U = A + (0 if wrong & {"no_residual", "no_residual_1"} else N if "adds_norm" in wrong else X)
    U = U + X if "twice" in wrong else U
    M = layer_norm(U, *norm_2)
    F = outcome(feed_forward(U if "no_norm_2" in wrong else M, *ffn), "network", wrong)
    kept = 0 if wrong & {"no_residual", "no_residual_2"} else M if "adds_norm" in wrong else U
    kept = X if "from_x" in wrong else kept
    Y = F + kept + (U if "twice" in wrong else 0)
    return layer_norm(Y, *norm_2) if "extra_norm" in wrong else Y


def flawed_block(wrong, orders=("post", "pre")):
    """The two blocks, with the mistake in one of them or in both."""
    return {
        "post_norm_block": partial(flawed_post, wrong=wrong) if "post" in orders else post_norm_block,
        "pre_norm_block": partial(flawed_pre, wrong=wrong) if "pre" in orders else pre_norm_block,
    }


def normed(x, gain, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * gain + bias


def post_by_names(X, weights, H, may_attend=None):
    w = weights
    A = fused_self_attention(X, w["W"], w["b"], w["W_O"], w["b_O"], H, may_attend)
    U = normed(A + X, w["gain_1"], w["bias_1"])
    return normed(gelu(U @ w["W_1"].T + w["b_1"]) @ w["W_2"].T + w["b_2"] + U, w["gain_2"], w["bias_2"])


def pre_by_names(X, weights, H, may_attend=None):
    w = weights
    N = normed(X, w["gain_1"], w["bias_1"])
    U = X + fused_self_attention(N, w["W"], w["b"], w["W_O"], w["b_O"], H, may_attend)
    M = normed(U, w["gain_2"], w["bias_2"])
    return U + np.einsum("...f,cf->...c", gelu(np.einsum("...c,fc->...f", M, w["W_1"]) + w["b_1"]), w["W_2"]) + w["b_2"]


def sublayers(weights, H, may_attend):
    """Yield each part as a function of one argument, together with its norm."""
    attention, norm_1, ffn, norm_2 = parts(weights)
    attend = partial(fused_self_attention, **dict(zip(("W", "b", "W_O", "b_O"), attention)), H=H, may_attend=may_attend)
    yield attend, lambda x: layer_norm(x, *norm_1)
    yield lambda x: feed_forward(x, *ffn), lambda x: layer_norm(x, *norm_2)


def post_by_sublayers(X, weights, H, may_attend=None):
    for part, norm in sublayers(weights, H, may_attend):
        X = norm(X + part(X))
    return X


def pre_by_sublayers(X, weights, H, may_attend=None):
    for part, norm in sublayers(weights, H, may_attend):
        X = X + part(norm(X))
    return X


def sentence_by_sentence(block, X, weights, H, may_attend=None):
    if X.ndim == 2:
        return block(X, weights, H, may_attend)
    masks = [None] * len(X) if may_attend is None else np.broadcast_to(may_attend, (*X.shape[:2], X.shape[1]))
    return np.stack([block(x, weights, H, mask) for x, mask in zip(X, masks)])


def both_orders(made, X, weights, H, may_attend):
    return made.post_norm_block(X, weights, H, may_attend), made.pre_norm_block(X, weights, H, may_attend)


def weights_of(rng, C, F):
    shapes = {"W": (3 * C, C), "b": 3 * C, "W_O": (C, C), "b_O": C, "gain_1": C, "bias_1": C}
    shapes |= {"W_1": (F, C), "b_1": F, "W_2": (C, F), "b_2": C, "gain_2": C, "bias_2": C}
    return {name: rng.normal(size=shape) + ("gain" in name) for name, shape in shapes.items()}


def batch(rng, *before, T, H, D, F, mask=None):
    X = 2 * rng.normal(size=(*before, T, H * D)) + rng.normal(size=(*before, T, 1))
    return {"X": X, "weights": weights_of(rng, H * D, F), "H": H, "may_attend": mask}


def probes(rng):
    padding = (np.arange(4) < np.array([4, 2, 3])[:, None])[:, None, :]
    return {
        "one sentence": batch(rng, T=5, H=2, D=3, F=7),
        "a batch with padding": batch(rng, 3, T=4, H=2, D=2, F=6, mask=padding),
        "a causal mask": batch(rng, 2, T=4, H=2, D=3, F=4, mask=np.tri(4, dtype=bool)),
    }


def edges(rng):
    large = batch(rng, 2, T=3, H=2, D=3, F=5)
    large["X"] = large["X"] * 1e3
    other = batch(rng, T=3, H=2, D=2, F=5)
    return {
        "the weights in another order": {**other, "weights": dict(sorted(other["weights"].items()))},
        "a sentence of padding only": batch(rng, 2, T=3, H=2, D=2, F=4, mask=np.array([[[True] * 3], [[False] * 3]])),
        "one sentence with a mask": batch(rng, T=4, H=3, D=2, F=5, mask=np.tri(4, dtype=bool)),
        "features of several thousand": large,
        "one token": batch(rng, 2, T=1, H=2, D=2, F=3),
    }


def words_reversed(rng):
    first = batch(rng, T=4, H=2, D=2, F=5)
    return {"a sentence": first, "the sentence in reverse order": {**first, "X": first["X"][::-1].copy()}}


def nothing_added(rng):
    """Both parts end in a product with zeros, so they add 0."""
    still = batch(rng, T=3, H=2, D=2, F=4)
    for name in ("W_O", "b_O", "W_2", "b_2"):
        still["weights"][name] *= 0
    other = {**still["weights"], "gain_1": np.ones(4)}
    return {"parts that add nothing": still, "another gain": {**still, "weights": other}}


def tiny():
    fixed = batch(np.random.default_rng(5), T=2, H=1, D=2, F=2)
    weights = {name: np.round(array, 1) for name, array in fixed["weights"].items()}
    return {"X": np.array([[1.0, -1.0], [0.0, 2.0]]), "weights": weights, "H": 1, "may_attend": None}


MORE = """  key · what it looks like · a question
extra_norm · there is one norm too many: X is normalized first (post-norm), or the result at the end (pre-norm) ·
    how many norms does each of the two formulas contain?
one_head · attention always gets one head ·
    where does your code use the argument H?
network_first · the feed-forward network comes before attention ·
    which of the two parts comes first in the formula?
no_attention · the result of attention is not added ·
    if one token changes, do the outputs of the others change?
no_network · the result of the feed-forward network is not added ·
    how many parts add something to X?
minus_attention · the result of attention is subtracted ·
    both parts only add to their input: where would a minus sign come from?
minus_network · the result of the feed-forward network is subtracted ·
    both parts only add to their input: where would a minus sign come from?
"""
ADDED = "suppose that a part f returns 0: what should u + f(u) be then?"
NORMS = "there are two norms, each with its own gain: where does each of them stand in the formula?"
WAY = "follow the residual path from X to Y: what lies on this path in each of the two orders?"
WRONG = {
    "no_residual": ("the residuals are missing: the output of each part replaces its input", ADDED),
    "no_residual_1": ("the residual around attention is missing", ADDED),
    "no_residual_2": ("the residual around the feed-forward network is missing", ADDED),
    "adds_norm": ("the residual adds the normalized vector instead of the vector itself", WAY),
    "swapped": ("pre-norm and post-norm are swapped", "is the norm applied to the sum, or to the input of the part?"),
    "inside": ("the norm is applied to the output of the part, before the sum", WAY),
    "no_norm_1": ("the norm that belongs to attention is missing", NORMS),
    "no_norm_2": ("the norm that belongs to the feed-forward network, the second one of the block, is missing", NORMS),
    "one_norm": ("the same norm is used for both parts", NORMS),
    "norms_exchanged": ("the two norms are swapped", NORMS),
    "parallel": (
        "the feed-forward network gets X, not the result of attention",
        "which part comes first, and whose output does the other one read?",
    ),
    "from_x": (
        "the second residual adds X instead of U",
        "U is computed first, then Y: does Y still contain what attention added?",
    ),
    "twice": ("the residuals are added twice", ADDED),
    "no_mask": ("the mask is not passed on to attention", "which tokens can attend to the padding now?"),
}


def mistakes():
    for key, (name, question) in WRONG.items():
        yield key, Wrong(name, question, flawed_block(frozenset({key})))
        for order in ("post", "pre"):
            said = f"{name} (only in the {order}-norm block)"
            yield f"{key}_{order}", Wrong(said, question, flawed_block(frozenset({key}), (order,)))
    yield from listed(MORE, lambda key: flawed_block(frozenset({key}))).items()


EXERCISE = Exercise(
    target="minilm.formulas.transformer.post_norm_block",
    also=("minilm.formulas.transformer.pre_norm_block",),
    section=("07", "The block, in two orders"),
    task="All pieces exist already: put them together, once in the order of 2017 (the norm after the sum) and once in today's "
    "order (the norm before each part). `parts(weights)` returns the weights of attention, norm 1, the feed-forward network "
    "and norm 2, in this order.",
    returns={"post": "sentence token feature", "pre": "sentence token feature"},
    tiny=tiny,
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "without a mask, reversing the tokens only reverses the output",
            words_reversed,
            lambda a, b: all(np.allclose(x, y[::-1]) for x, y in zip(a, b)),
        ),
        Property(
            "if the parts add nothing, the pre-norm block returns its input",
            nothing_added,
            lambda a, b: np.allclose(a[1], b[1]) and not np.allclose(a[0], b[0]),
        ),
    ),
    run=both_orders,
    needs=("attention", "heads", "layer_norm", "feed_forward"),
    given=(
        "minilm.formulas.attention.fused_self_attention",
        *(f"minilm.formulas.transformer.{name}" for name in ("feed_forward", "layer_norm", "parts")),
    ),
    forbidden=("TransformerBlock", "TransformerEncoderLayer", "post_norm_block_gradient", "pre_norm_block_gradient"),
    steps=(
        "the weights of the four parts",
        "attention, the residual around it, and its norm",
        "the same with the feed-forward network",
    ),
    right={
        "by names": {"post_norm_block": post_by_names, "pre_norm_block": pre_by_names},
        "a loop over the parts": {"post_norm_block": post_by_sublayers, "pre_norm_block": pre_by_sublayers},
        "sentence by sentence": {
            "post_norm_block": partial(sentence_by_sentence, post_by_names),
            "pre_norm_block": partial(sentence_by_sentence, pre_by_sublayers),
        },
    },
    wrong=dict(mistakes()),
    hints=(
        "Attention lets tokens exchange information; the feed-forward network works on each token alone. Both only ADD to their "
        "input. The two orders differ in one thing: which vector is normalized, the sum or the input of the part?",
        "post: U = Norm₁(X + Attention(X)), Y = Norm₂(U + FFN(U)). pre: U = X + Attention(Norm₁(X)), Y = U + FFN(Norm₂(U)). All "
        "are [.., T, C].",
        "attention, norm_1, ffn, norm_2 from the weights;  u = norm of (x plus attended x);  y = norm of (u plus network of u); "
        " for pre: normalize the input of each part, and add its output to the vector before the norm",
    ),
)
