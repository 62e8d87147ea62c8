"""Notebook 05: what "What to try" says, done literally, and one change more in every section."""

NOT_NOTICED = 'claim("The first word does not notice the last one.", reached[-1] and not reached[0])'
KERNEL = "T, S = 5, 7\nq, k, v, dY = (rng.normal(size=(2, 3, n, 4))"
SINGLE = "single = [tensor.float() for tensor in tensors]"
LEFT = "    labels[:, 1:] = batch[:, :-1]"
STEPS = "steps = 20 if FAST else 300"

ORIGINAL = "original = draw.normal(size=(B, S, C))"

TRY = [
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
    (
        "Turn the original round, `original = original[:, ::-1].copy()` below its line: what becomes of the first word of the "
        "translation, and why?",
        [(ORIGINAL, ORIGINAL + "\noriginal = original[:, ::-1].copy()")],
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
                "%timeit -n 1 -r 1 layer(torch.tensor(X))\nlayer.fused = False\n%timeit -n 1 -r 1 layer(torch.tensor(X))",
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
REMARKS = []

FULL = {
    "In a copy of $W^O$, `pruned = W_O.copy()`, set the block that belongs to the first head to zero by `pruned[:D] = 0`: "
    "how far is `np.concatenate(heads, axis=-1) @ pruned` from `printed`?": [
        [
            (
                "after",
                NOT_NOTICED,
                "pruned = W_O.copy()\npruned[:D] = 0\n"
                "apart = np.abs(np.concatenate(heads, axis=-1) @ pruned - printed)\n"
                "print(f'largest difference {apart.max():.2f}, largest entry of printed {np.abs(printed).max():.2f}')",
            )
        ]
    ],
    "Count the parameters of `library.MultiHeadAttention(C, H)` for $H$ = 1, 3, 12 with the same $C$.": [
        [
            (
                "after",
                NOT_NOTICED,
                "[sum(p.numel() for p in library.MultiHeadAttention(C, H).parameters()) for H in (1, 3, 12)]",
            )
        ]
    ],
}

VARIATIONS = [
    [("S = 7\noriginal", "S = 1\noriginal")],
    [("B, T, H, D = 2, 5, 3, 4", "B, T, H, D = 1, 7, 3, 5")],
    [("T, S = 5, 7\n", "T, S = 1, 1\n")],
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
