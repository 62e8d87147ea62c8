"""Notebook 06: what "What to try" says, done literally, and one change more in every section."""

ORDER = 'claim("With a causal mask, the order counts.", apart > 0.1)'
SIZES = "T, C, base = 64, 32, 10000.0"
WRONG = "wrong = np.where(column % 2, np.cos(wrong_angle), np.sin(wrong_angle))"
INDEX = "np.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 0, 1]])"
HEAD = "head_bias[bucket(np.array(-1))] = 4"
TURNED = (
    "Q, K = (np.stack([rotated(x, m) for m in places]) for x in (q, k))  # [T, D], the same vector at every position"
)
ONE_QK = "q, k = draw.normal(size=(2, D))  # one query and one key"
TABLE = '"a learned table": ("learned", "fan-in")'

TRY = [
    (
        "Predict, then run: shuffle the mask along with the words, `masked(sentence[:, order], causal[order][:, order])`. Is "
        "attention equivariant again?",
        [
            (
                "after",
                ORDER,
                "shuffled = masked(sentence[:, order], causal[order][:, order])\n"
                "np.abs(shuffled - masked(sentence, causal)[:, order]).max()",
            )
        ],
    ),
    *(
        (sentence, [(SIZES, SIZES.replace("10000.0", base)), ("after", WRONG, f"print({shown})")])
        for sentence, base, shown in (
            (
                "Set `base` to 100: how far do the dot products fall at distance 30, `products[0, 30]`?",
                "100",
                "products[0, 30]",
            ),
            ("Which distance has the smallest dot product, `products[0].argmin()`?", "2", "products[0].argmin()"),
        )
    ),
    (
        "Print `dP`: which rows of a position table never learn anything if all training texts are short?",
        [("after", "np.add.at(added, index, dY)", "print(dP)")],
    ),
    (
        "Make the third text a later piece, `[2, 3, 4, 5]`: which rows learn now, and which of them are right with `+=`?",
        [(INDEX, INDEX.replace("[0, 1, 0, 1]", "[2, 3, 4, 5]"))],
    ),
    (
        "Make the third text a later piece, `[2, 3, 4, 5]`: which rows learn now, and which of them are right with `+=`?",
        [(INDEX, "np.array([[5, 4], [3, 2]])")],
    ),
    (
        "Set `farthest = 32`: which distances share the last bucket now?",
        [("farthest, H = 32, 128, 4", "farthest, H = 32, 32, 4")],
    ),
    (
        "Give the head a peak of 8 instead of 4, `head_bias[bucket(np.array(-1))] = 8`: can a word still win against it?",
        [(HEAD, HEAD.replace("= 4", "= 8"))],
    ),
    (
        "Let it look two words ahead, `head_bias[bucket(np.array(2))] = 4`: what do the last two words do?",
        [(HEAD, HEAD.replace("-1", "2"))],
    ),
    (
        "Let the key be the query, `k = q` above the line of `omega`: where is the score largest now, and which picture of this "
        "notebook does the curve remind you of?",
        [(ONE_QK, ONE_QK + "\nk = q")],
    ),
    (
        "Turn the keys backwards, `K = np.stack([rotated(k, -m) for m in places])` above the line of `score`: along which lines "
        "of the picture does it stay the same now?",
        [(TURNED, TURNED + "\nK = np.stack([rotated(k, -m) for m in places])")],
    ),
    *(
        ("Set `base = 4.0`: what becomes of the slow waves?", [("D, base = 16, 10000.0", f"D, base = 16, {base}")])
        for base in ("4.0", "1.0")
    ),
    (
        'Give the table the start of `neighbours` as well, `("learned", "neighbours")` in `kinds`: where is the plateau now?',
        [(TABLE, TABLE.replace("fan-in", "neighbours"))],
    ),
    (
        'Start it from BERT\'s small weights, `("learned", "published")`: does it arrive at all?',
        [(TABLE, TABLE.replace("fan-in", "published"))],
    ),
    *(
        (
            "Use shorter texts, `T=16` in `learn`: how much shorter does the plateau become?",
            [("scheme, T=64, steps", f"scheme, T={T}, steps")],
        )
        for T in (16, 2)
    ),
]
REMARKS = []

FULL = {
    "Which distance has the smallest dot product, `products[0].argmin()`?": [
        [(SIZES, SIZES.replace("10000.0", "100")), ("after", WRONG, "print(products[0].argmin())")]
    ],
    "Use shorter texts, `T=16` in `learn`: how much shorter does the plateau become?": [
        [("scheme, T=64, steps", "scheme, T=16, steps")]
    ],
    "Set `base = 4.0`: what becomes of the slow waves?": [[("D, base = 16, 10000.0", "D, base = 16, 4.0")]],
}

VARIATIONS = [
    [("order = np.array([2, 1, 0])", "order = np.array([0, 2, 1])")],
    [(SIZES, "T, C, base = 9, 4, 3.0")],
    [("P, index = rng.normal(size=(6, 4))", "P, index = rng.normal(size=(9, 5))")],
    [("buckets, farthest, H = 32, 128, 4", "buckets, farthest, H = 8, 20, 1")],
    [('"the plot is thin , but the cast is great".split()', '"a cat".split()')],
    [("D, base = 16, 10000.0", "D, base = 2, 10000.0")],
    [("def agreement(kind, scheme, T=64)", "def agreement(kind, scheme, T=4)")],
]
