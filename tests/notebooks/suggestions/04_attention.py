"""Notebook 04: what "What to try" says, done literally, and one change more in every section."""

STRENGTH = "strength = 6  # of the questions"
ROLLS = '    ("rolls", [0, 0, 0, 1, 0, 0]),\n'
VERBS = "W_Q[[0, 1, 3], 1] = strength  # articles, adjectives and verbs ask for their noun"
KEYS = "sizes, n, S = np.array([4, 16, 64, 256, 1024]), 200 if FAST else 2000, 16"
CAUSAL = "causal = np.tril(np.ones((T, T), dtype=bool))  # [T, T]: query t sees keys 0 … t"
BOTH = "both = causal & padding  # [B, T, S]"
ONES = "q, k, v, dY = (rng.normal(size=size) for size in ((T, D), (S, D), (S, Dv), (T, Dv)))"

SAME = "values = np.sin(keys) + 0.2 * draw.normal(size=30)  # what was measured there"

TRY = [
    (
        "Give all values the same number, `values = np.full(30, 2.0)` below their line: what can attention return now?",
        [(SAME, SAME + "\nvalues = np.full(30, 2.0)")],
    ),
    (
        "Ask outside the keys as well, `queries = np.linspace(-3, 9, 200)`: what comes back where there are none?",
        [("queries = np.linspace(0, 6, 200)", "queries = np.linspace(-3, 9, 200)")],
    ),
    *(
        ("Set `strength` to 1 and to 60: how sharp is the choice?", [(STRENGTH, f"strength = {strength}")])
        for strength in (1, 60, 0, 6000)
    ),
    (
        "Let verbs ask for adjectives too, `W_Q[3, 0] = strength`.",
        [(VERBS, VERBS + "\nW_Q[3, 0] = strength")],
    ),
    (
        'Add a second noun, the row `("floor", [0, 0, 1, 0, 0, 0]),` below *rolls*: what does *rolls* get?',
        [(ROLLS, ROLLS + '    ("floor", [0, 0, 1, 0, 0, 0]),\n')],
    ),
    (
        'Add a second noun, the row `("floor", [0, 0, 1, 0, 0, 0]),` below *rolls*: what does *rolls* get?',
        [(ROLLS, '    ("big", [0, 1, 0, 0, 0, 0]),\n    ("cup", [0, 0, 1, 0, 0, 0]),\n')],
    ),
    *(
        (
            "Let the entries of $q$ and $k$ have variance 4, `sigma = 2`: which root would you need?",
            [("sigma = 1  #", f"sigma = {sigma}  #")],
        )
        for sigma in (2, 100)
    ),
    ("Take 256 keys instead of 16, `S = 256`.", [(KEYS, KEYS.replace("2000, 16", "2000, 256"))]),
    ("Take 256 keys instead of 16, `S = 256`.", [(KEYS, KEYS + "\nS = 1")]),
    (
        "Transpose the causal mask by `causal = causal.T` below its line: does the leak test find it?",
        [(CAUSAL, CAUSAL + "\ncausal = causal.T")],
    ),
    (
        "Mask the *queries* of the padding too, `both = both & padding.swapaxes(1, 2)`: does anything that counts change in "
        "`by_hand.attention(q, k, v, both)`?",
        [
            (
                BOTH,
                BOTH + "\nbefore = by_hand.attention(q, k, v, both)\nboth = both & padding.swapaxes(1, 2)\n"
                "change = np.abs(by_hand.attention(q, k, v, both) - before)\n"
                "print(f'change of a word {change[attention_mask].max()}, of padding {change[~attention_mask].max():.2f}')",
            )
        ],
    ),
    *(
        (
            "Swap the lengths of the two sentences, `lengths = [4, 6]`.",
            [("lengths = [6, 4]  # words in each sentence", f"lengths = {lengths}")],
        )
        for lengths in ([4, 6], [3, 9, 1])
    ),
    (
        "Let `dY` and `v` be all ones, `dY, v = np.ones_like(dY), np.ones_like(v)` below their line: why is every gradient "
        "except $dV$ zero? (This is why a gradient test never uses a plain sum.)",
        [(ONES, ONES + "\ndY, v = np.ones_like(dY), np.ones_like(v)")],
    ),
]
REMARKS = ["(A row without any key is $0/0$ in our own function.)"]

FULL = {
    "Set `strength` to 1 and to 60: how sharp is the choice?": [
        [(STRENGTH, f"strength = {strength}")] for strength in (1, 60)
    ],
    "Let the entries of $q$ and $k$ have variance 4, `sigma = 2`: which root would you need?": [
        [("sigma = 1  #", "sigma = 2  #")]
    ],
    "Take 256 keys instead of 16, `S = 256`.": [[(KEYS, KEYS.replace("2000, 16", "2000, 256"))]],
    "Swap the lengths of the two sentences, `lengths = [4, 6]`.": [
        [("lengths = [6, 4]  # words in each sentence", "lengths = [4, 6]")]
    ],
}

VARIATIONS = [
    [("keys = draw.uniform(0, 6, size=30)  #", "keys = draw.uniform(-1, 1, size=30)  #")],
    [("W_K[1, 0] = 1  #", "W_K[[0, 1, 2], 0] = 1  #")],
    [("B, T, S, D, Dv = 2, 5, 7, 4, 3", "B, T, S, D, Dv = 1, 2, 3, 8, 5")],
    [("np.array([4, 16, 64, 256, 1024])", "np.array([2, 9])")],
    [("def leak(attend, t=2)", "def leak(attend, t=5)")],
    [("T, S, D, Dv = 5, 7, 4, 3", "T, S, D, Dv = 3, 2, 6, 1")],
]
