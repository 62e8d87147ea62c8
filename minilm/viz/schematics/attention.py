r"""Schematics of attention: one query, the whole matrix, several heads, the masks.  F18, F19."""

import numpy as np
from matplotlib.patches import Rectangle

from minilm.formulas.attention import attention, attention_weights, causal_mask, padding_mask
from minilm.viz.schematics.kit import Schematic

WORDS = ("the", "cat", "sat", "down")
# One head of size D = 4 on four words, small enough to follow by hand; everything below is computed from these.
Q = np.array([[1.0, 2.0, 0.0, 1.0]])  # the query of the word "sat", [1, D]
K = np.array([[0.0, 0.0, 1.0, 0.0], [1.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0]])  # [S, D]
V = np.array([[0.2, 0.0, 0.0, 0.4], [1.0, 0.2, 0.6, 0.0], [0.0, 0.8, 0.2, 0.2], [0.0, 0.4, 1.0, 0.0]])  # [S, D]


def attention_one_query() -> Schematic:
    r"""One query meets all keys: scores q · k_s / √D, softmax over s, and the weighted sum of the values.  F18.

    The numbers are computed by `minilm.formulas.attention` from four keys of size D = 4.
    """
    picture = Schematic(
        684, 560, "One query: its scores with all keys, softmax, weights, and the weighted sum of values."
    )
    x, right = [236, 338, 440, 542], 600
    scores = (Q @ K.T / np.sqrt(Q.shape[-1]))[0]
    weights, out = attention_weights(Q, K)[0], attention(Q, K, V)[0]
    names = ("1 · Compare", "2 · Scale", "3 · Softmax", "4 · Weigh and add")
    for name, y in zip(names, (112, 187, 262, 412)):
        picture.write(20, y, name, bold=True, align="left")
    picture.remark(20, 129, "the query with", "each key", align="left")
    picture.remark(20, 204, "so that scores do", "not grow with D", align="left")
    picture.remark(20, 279, "positive, and", "their sum is 1", align="left")
    picture.remark(20, 429, "each value, in", "proportion", align="left")
    query = picture.cells(20, 40, Q, (20, 18))
    picture.write(20, 27, "q  of “sat”", bold=True, align="left")
    picture.write(108, 49, "[D]", 9, align="left")
    product = picture.box(389, 121, 372, 26, "q · kₛ", kind="operation")
    picture.arrow(query.bottom(20), (query.x + 20, 80), (160, 80), (160, 121), product.left())
    root = picture.box(389, 190, 372, 26, "÷ √D", kind="operation")
    soft = picture.box(389, 265, 372, 26, "softmax over the keys s", kind="operation")
    add = picture.box(389, 474, 372, 26, "add up", kind="operation")
    for s, word in enumerate(WORDS):
        at = x[s] - 389
        key = picture.cells(x[s] - 40, 40, K[s : s + 1], (20, 18))
        picture.write(x[s], 27, f"k{'₁₂₃₄'[s]}  “{word}”", bold=True)
        picture.arrow(key.bottom(), product.top(at))
        picture.arrow(product.bottom(at), root.top(at), shape=f"{(Q @ K.T)[0, s]:.0f}")
        picture.arrow(root.bottom(at), soft.top(at), shape=f"{scores[s]:.1f}")
        weight = picture.cells(x[s] - 26, 312, [[weights[s]]], (52, 24), [[f"{weights[s]:.2f}"]], most=1)
        picture.arrow(soft.bottom(at), weight.top())
        value = picture.cells(x[s] - 40, 372, V[s : s + 1], (20, 18), most=1)
        picture.write(x[s] + 8, 359, f"v{'₁₂₃₄'[s]}", bold=True, align="left")
        times = picture.sign(x[s], 423, "×")
        picture.arrow(weight.left(), (x[s] - 48, weight.y), (x[s] - 48, times.y), times.left())
        picture.arrow(value.bottom(), times.top())
        picture.arrow(times.bottom(), add.top(at))
    result = picture.cells(389 - 40, 516, out[None], (20, 18), most=1)
    picture.arrow(add.bottom(), result.top())
    picture.write(389 - 50, 525, "output for “sat”", bold=True, align="right")
    for y, shape in (
        (49, "K  [S, D]"),
        (155, "[S]"),
        (227, "scores  [S]"),
        (324, "weights  [S]"),
        (381, "V  [S, D]"),
        (447, "[S, D]"),
    ):
        picture.write(right, y, shape, 9, align="left")
    picture.write(440, 525, "[D]", 9, align="left")
    return picture


def attention_matrix() -> Schematic:
    r"""All queries at once: softmax(Q Kᵀ / √D) V with Q = X W_Q, K = X W_K, V = X W_V, and the shape of every step.  F18.

    The matrices are drawn in proportion, with T = S = 5, C = 6 and D = 4. The mask is True where a query may attend.
    """
    picture = Schematic(
        720, 432, "Attention as a flow of matrices: X, its three projections, scores, mask, softmax, A V."
    )
    x_box = picture.matrix(58, 250, 5, 6, "X", "[T, C]")
    rows = {"Q": 118, "K": 250, "V": 382}
    out = {}
    for name, y in rows.items():
        times = picture.sign(160, y, "×")
        weights = picture.matrix(160, y - 62, 6, 4, "", kind="learned", cell=10)
        picture.write(160, y - 66, f"W_{name}", box=weights)
        picture.write(160, y - 54, "[C, D]", 8, box=weights)
        picture.arrow(weights.bottom(), times.top())
        start = x_box.right({"Q": -12, "K": 0, "V": 12}[name])
        corner = [] if name == "K" else [(118, start[1]), (118, y)]
        picture.arrow(start, *corner, times.left())
        out[name] = picture.matrix(238, y, 5, 4, name, "[T, D]" if name == "Q" else "[S, D]")
        picture.arrow(times.right(), out[name].left())
    compare = picture.box(335, 184, 84, 30, "Q Kᵀ / √D", kind="operation")
    picture.arrow(out["Q"].right(), (335, rows["Q"]), compare.top(), shape="[T, D]", on=0)
    picture.arrow(out["K"].right(), (335, rows["K"]), compare.bottom(), shape="[S, D]", on=0, side="below")
    mask = picture.box(452, 184, 62, 30, "mask", kind="operation")
    picture.arrow(compare.right(), mask.left(), shape="[T, S]")
    allowed = picture.matrix(452, 92, 5, 5, "may_attend")
    picture.arrow(allowed.bottom(), mask.top(), shape="[T, S]")
    picture.remark(452, 212, "where it is False,", "the score becomes −∞")
    soft = picture.box(560, 184, 68, 30, "softmax", kind="operation")
    picture.arrow(mask.right(), soft.left(), shape="[T, S]")
    picture.remark(560, 155, "each row sums to 1")
    weights = picture.matrix(666, 184, 5, 5, "weights A")
    picture.arrow(soft.right(), weights.left(), shape="[T, S]")
    product = picture.box(540, 382, 68, 30, "A V", kind="operation")
    picture.arrow(weights.bottom(), (666, 300), (540, 300), product.top(), shape="[T, S]", on=1)
    picture.arrow(out["V"].right(), product.left(), shape="[S, D]")
    result = picture.matrix(666, 382, 5, 4, "output", "[T, D]")
    picture.arrow(product.right(), result.left(), shape="[T, D]")
    picture.remark(20, 330, "Self-attention:", "Q, K and V all", "come from X,", "so S = T.", align="left")
    picture.key(424, 24, "tensor", "learned", "operation")
    return picture


def many_heads() -> Schematic:
    r"""Split the width C into H heads of size D, attend in each, concatenate, project with W_O.  F19.

    The shapes are those of `MultiHeadAttention`: one product makes Q, K and V of all heads, [B, T, 3C].
    """
    picture = Schematic(
        760, 372, "Several heads: project, split the width into heads, attend in each, concatenate, project."
    )
    x_box = picture.matrix(48, 190, 5, 6, "X", "[B, T, C]", cell=9)
    project = picture.box(136, 190, 72, 64, "to Q, K, V", "W  [C, 3C]", kind="learned")
    picture.arrow(x_box.right(), project.left())
    split = picture.box(262, 190, 60, 250, "split", "C = H·D", kind="operation")
    picture.arrow(project.right(), split.left(), shape="[B, T, 3C]")
    join = picture.box(482, 190, 60, 250, "concat", "H·D = C", kind="operation")
    for head, y in ((1, 100), (2, 190), (3, 280)):
        attend = picture.box(372, y, 72, 32, "attention", kind="operation")
        picture.arrow(split.right(y - 190), attend.left(), shape="3 [T, D]")
        picture.arrow(attend.right(), join.left(y - 190), shape="[T, D]")
        picture.write(372, y - 26, f"head {head}", bold=True)
    picture.remark(262, 332, "[B, T, C] → [B, H, T, D]")
    picture.remark(482, 332, "[B, H, T, D] → [B, T, C]")
    all_heads = picture.matrix(568, 190, 5, 6, "", "[B, T, C]", cell=9)
    for n in range(3):  # the features of each head stand side by side
        picture.write(all_heads.x + 18 * (n - 1), all_heads.top()[1] - 9, f"{n + 1}", bold=True)
        picture.draw_shape(Rectangle((all_heads.left()[0] + 18 * n, all_heads.top()[1]), 18, 45), "", "ink", 1.6)
    picture.arrow(join.right(), all_heads.left())
    output = picture.box(644, 190, 54, 64, "W_O", "[C, C]", kind="learned")
    picture.arrow(all_heads.right(), output.left())
    result = picture.matrix(718, 190, 5, 6, "output", "[B, T, C]", cell=9)
    picture.arrow(output.right(), result.left())
    picture.remark(20, 24, "Every head gets its own Q, K and V, each [T, D].", align="left")
    picture.key(470, 24, "tensor", "learned", "operation")
    return picture


def masks() -> Schematic:
    r"""Which key s each query t may attend to: padding, causal, and both together (`&`).  F18.

    The grids are what `padding_mask` and `causal_mask` return for four words and one position of padding. True means that
    the query may attend to the key.
    """
    words = ("the", "film", "was", "fun", "[PAD]")
    T, cell, top = len(words), 31, 104
    real = np.array([[word != "[PAD]" for word in words]])
    padding = np.broadcast_to(padding_mask(real).reshape(1, T), (T, T))
    causal = causal_mask(T)
    picture = Schematic(720, 314, "Three masks as grids of queries and keys: padding, causal, and both.")
    grids = (
        ("padding", "padding_mask  [B, 1, 1, S]", padding),
        ("causal", "causal_mask  [T, S]", causal),
        ("both", "padding & causal  [B, 1, T, S]", padding & causal),
    )
    for i, (name, code, grid) in enumerate(grids):
        left = 62 + i * 230
        picture.write(left, 26, name, 13, bold=True, align="left")
        picture.write(left, 45, code, 9, align="left", colour="soft")
        picture.write(left + T * cell / 2, 70, "keys s", 9, colour="soft")
        for n, word in enumerate(words):
            picture.write(left + (n + 0.5) * cell, top - 13, word, 8.5)
            picture.write(left - 6, top + (n + 0.5) * cell, word, 8.5, align="right")
        marks = [["●" if may else "×" for may in row] for row in grid]
        picture.cells(left, top, grid.astype(float), cell, marks, size=11, most=2)
    picture.write(62 - 6, top - 13, "queries t", 9, align="right", colour="soft")
    picture.remark(
        62,
        top + T * cell + 24,
        "● True: the query may attend to the key        × False: its score becomes −∞, and its weight 0",
        align="left",
    )
    return picture
