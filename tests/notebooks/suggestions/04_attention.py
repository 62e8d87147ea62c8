"""Notebook 04: what "What to try" says, done literally, and one change more in every section."""

STRENGTH = "strength = 6  # of the questions"
ROLLS = '    ("rolls", [0, 0, 0, 1, 0, 0]),\n'
VERBS = "W_Q[[0, 1, 3], 1] = strength  # articles, adjectives and verbs ask for their noun"
KEYS = "sizes, n, S = np.array([4, 16, 64, 256, 1024]), 200 if FAST else 2000, 16"
CAUSAL = "causal = np.tril(np.ones((T, T), dtype=bool))  # [T, T]: query t sees keys 0 … t"
BOTH = "both = causal & padding  # [B, T, S]"
ONES = "q, k, v, dY = (rng.normal(size=size) for size in ((T, D), (S, D), (S, Dv), (T, Dv)))"
NOT_NOTICED = 'claim("The first word does not notice the last one.", reached[-1] and not reached[0])'
KERNEL = "T, S = 5, 7\nq, k, v, dY = (rng.normal(size=(2, 3, n, 4))"
SINGLE = "single = [tensor.float() for tensor in tensors]"
ORDER = 'claim("With a causal mask, the order counts.", apart > 0.1)'
LEFT = "    labels[:, 1:] = batch[:, :-1]"
STEPS = "steps = 20 if FAST else 300"

TRY = [
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
    ("Take 256 keys instead of 16, `S = 256`.", [(KEYS, KEYS.replace(", 16", ", 256").replace("4, 256", "4, 16"))]),
    ("Take 256 keys instead of 16, `S = 256`.", [(KEYS, KEYS + "\nS = 1")]),
    (
        "Transpose the causal mask by `causal = causal.T` below its line: does the leak test find it?",
        [(CAUSAL, CAUSAL + "\ncausal = causal.T")],
    ),
    (
        "Mask the *queries* of the padding too, `both = both & padding.swapaxes(1, 2)`: does anything that counts change in "
        "`by_hand.attention(q, k, v, both)`?",
        [(BOTH, BOTH + "\nprint(by_hand.attention(q, k, v, both))\nboth = both & padding.swapaxes(1, 2)")],
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
    (
        "In a copy of $W^O$, `pruned = W_O.copy()`, set the block that belongs to the first head to zero by `pruned[:D] = 0`: "
        "how far is `np.concatenate(heads, axis=-1) @ pruned` from `printed`?",
        [
            (
                "after",
                NOT_NOTICED,
                "pruned = W_O.copy()\npruned[:D] = 0\nnp.abs(np.concatenate(heads, axis=-1) @ pruned - printed).max()",
            )
        ],
    ),
    (
        "In a copy of $W^O$, `pruned = W_O.copy()`, set the block that belongs to the first head to zero by `pruned[:D] = 0`: "
        "how far is `np.concatenate(heads, axis=-1) @ pruned` from `printed`?",
        [
            (
                "X, W_O = rng.normal(size=(B, T, C)), rng.normal(size=(C, C))",
                "X, W_O = rng.normal(size=(B, T, C)), np.eye(C)\nW_O[:D] = 0",
            )
        ],
    ),
    (
        "Count the parameters of `library.MultiHeadAttention(C, H)` for $H$ = 1, 3, 12 with the same $C$.",
        [
            (
                "after",
                NOT_NOTICED,
                "[sum(p.numel() for p in library.MultiHeadAttention(C, H).parameters()) for H in (1, 3, 12)]",
            )
        ],
    ),
    *(
        (
            "Count the parameters of `library.MultiHeadAttention(C, H)` for $H$ = 1, 3, 12 with the same $C$.",
            [("B, T, H, D = 2, 5, 3, 4", f"B, T, H, D = 2, 5, {H}, {12 // H}")],
        )
        for H in (1, 12)
    ),
    *(
        (
            "Set `T, S` to `64, 64` and to `2048, 2048`, and time both functions in a new cell, `%timeit readable(*tensors)` and "
            "`%timeit kernel(*tensors)`.",
            [
                (KERNEL, KERNEL.replace("T, S = 5, 7", f"T, S = {size}, {size}")),
                ("after", SINGLE, "%timeit -n 1 -r 1 readable(*tensors)\n%timeit -n 1 -r 1 kernel(*tensors)"),
            ],
        )
        for size in (64, 2048)
    ),
    (
        "Set `layer.fused = False` and time `layer(torch.tensor(X))` before and after: what does the layer use now?",
        [
            (
                "after",
                SINGLE,
                "%timeit -n 1 -r 1 layer(torch.tensor(X))\nlayer.fused = False\n%timeit -n 1 layer(torch.tensor(X))",
            )
        ],
    ),
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
        (
            'Change the task to "the word two places to the left", `labels[:, 2:] = batch[:, :-2]`, or to "the first word", '
            "`labels[:, 1:] = batch[:, :1]`.",
            [(LEFT, f"    {line}")],
        )
        for line in ("labels[:, 2:] = batch[:, :-2]", "labels[:, 1:] = batch[:, :1]")
    ),
    (
        "Take the positions away, with the line "
        "`left_model.encoder.embeddings.positions.weight.requires_grad_(False).zero_()` before training: what does the loss "
        "do, and why?",
        [(STEPS, STEPS + "\nleft_model.encoder.embeddings.positions.weight.requires_grad_(False).zero_()")],
    ),
    (
        "Train for masked words ten times as long, `10 * steps`.",
        [("learn(masked_model, masked_words, steps)", "learn(masked_model, masked_words, 10 * steps)")],
    ),
]
REMARKS = ["(A row without any key is $0/0$ in our own function.)"]

VARIATIONS = [
    [("W_K[1, 0] = 1  #", "W_K[[0, 1, 2], 0] = 1  #")],
    [("B, T, S, D, Dv = 2, 5, 7, 4, 3", "B, T, S, D, Dv = 1, 2, 3, 8, 5")],
    [("np.array([4, 16, 64, 256, 1024])", "np.array([2, 9])")],
    [("def leak(attend, t=2)", "def leak(attend, t=5)")],
    [("T, S, D, Dv = 5, 7, 4, 3", "T, S, D, Dv = 3, 2, 6, 1")],
    [("B, T, H, D = 2, 5, 3, 4", "B, T, H, D = 1, 7, 3, 5")],
    [("T, S = 5, 7\n", "T, S = 1, 1\n")],
    [("order = np.array([2, 1, 0])", "order = np.array([0, 2, 1])")],
    [
        (
            'words = "the plot is thin , but the cast is a delight ."',
            'words = "Nobody knows zyzzyva " * 20 + "x"\nwords = words',
        )
    ],
    [("T, V = 24, len(names)", "T, V = 6, len(names)")],
    [("layers=1, heads=4, feed_forward=128", "layers=2, heads=2, feed_forward=32")],
    [(STEPS, "steps = 1")],
]
