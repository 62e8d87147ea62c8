"""Notebook 07: what "What to try" says, done literally, and one change more in every section."""

DX = "dx = (g - g.mean(axis=-1, keepdims=True) - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)) / s"
CENTRED = "centred = x - x.mean(axis=-1, keepdims=True)"
FFN = "y = by_hand.gelu(z) @ W_2.T + b_2  # [B, T, C]"
WEIGHTS = (
    "w = {name: rng.normal(size=[sizes[axis] for axis in axes.split()]) / 2 for name, axes in by_hand.BLOCK.items()}\n"
)
ZERO = 'w |= {name: 0 * w[name] for name in ("W_2", "b_2", "W_O", "b_O")}\n'
STACK = "Stack(order, L, C=64), batch(torch.Generator().manual_seed(0))"
START = "start = {name: at_the_start(order) for name, order in orders.items()}"
LOSSES = "losses = {name: train(*how, L, steps) for name, how in runs.items()}"
SMALL = '(post_norm, "published", 1)'
LAST = 'claim("From neighbours, it gets more than 60 %.", largest["neighbours"] > 0.6)'
MODEL = 'model = started("published")\nmodel.encoder.stack.layers[0].attention.to_qkv.weight.data *= 5\n'

BERT = "config = TransformerConfig(30522, 768, layers=12, heads=12, feed_forward=3072, max_length=512)"

TRY = [
    *(
        (
            "Remove one of the two subtracted parts from `dx`, `- g.mean(axis=-1, keepdims=True)` or "
            "`- x_hat * (g * x_hat).mean(axis=-1, keepdims=True)`: how wrong is `dx`?",
            [(DX, DX.replace(part, ""))],
        )
        for part in (" - g.mean(axis=-1, keepdims=True)", " - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)")
    ),
    (
        "Leave $\\mu$ out of the forward computation altogether, `centred = x` (this is RMSNorm).",
        [(CENTRED, "centred = x")],
    ),
    (
        "Replace GELU by the identity, `y = z @ W_2.T + b_2`, and compare with `x @ (W_2 @ W_1).T + W_2 @ b_1 + b_2`: what can "
        "two linear layers then compute that one cannot?",
        [(FFN, 'y = z @ W_2.T + b_2\nagree("one layer", y, x @ (W_2 @ W_1).T + W_2 @ b_1 + b_2)')],
    ),
    (
        "Set $W_2, b_2, W^O, b_O$ to zero, "
        '`w |= {name: 0 * w[name] for name in ("W_2", "b_2", "W_O", "b_O")}` below the line of `w`: what do a pre-norm and a '
        "post-norm block compute now, and what is $dX$?",
        [
            (WEIGHTS, WEIGHTS + ZERO),
            (
                "after",
                "once = dX - dR",
                'print(Y, library_block("pre")(torch.tensor(X)) - torch.tensor(X), pre - dY, dX)',
            ),
        ],
    ),
    *(
        (
            'Pass `scheme="published"` to the `Stack` of `at_the_start`: where has the collapse gone?',
            [(STACK, STACK.replace("C=64", f"C=64, {how}"))],
        )
        for how in ('scheme="published"', "scale=0")
    ),
    *(
        (
            "Take 6 blocks instead of 24, `at_the_start(order, L=6)`.",
            [(START, START.replace("(order)", f"(order, L={L})"))],
        )
        for L in (6, 1, 40)
    ),
    (
        "Use two blocks instead of twelve, `L = 2` above the line of `losses`: which orders learn now?",
        [(LOSSES, "L = 2\n" + LOSSES)],
    ),
    (
        "Use a warm-up of 60 steps, `warm_up=60`: does post-norm from `fan-in` learn now?",
        [("warm_up=1", "warm_up=60")],
    ),
    *(
        (
            'Double the standard deviation of the small weights, `(post_norm, "published", 2)`, and double it again until '
            "training breaks.",
            [(SMALL, SMALL.replace("1", scale))],
        )
        for scale in ("2", "4", "1000")
    ),
    (
        'Let `model = started("published")` and `model.encoder.stack.layers[0].attention.to_qkv.weight.data *= 5`: what does '
        "the map `scores(model).softmax(dim=-1)[0]` look like?",
        [
            (
                "after",
                LAST,
                MODEL + 'plots.attention_maps(words, [scores(model).softmax(dim=-1)[:1]], title="times five")',
            )
        ],
    ),
    *(
        (
            "Look at heads 3 and 4 of `neighbours`, `head = 3` and `head = 4`: two words occur twice in the sentence.",
            [("head = 1\n", f"head = {head}\n")],
        )
        for head in (3, 4)
    ),
]
TRY += [
    (
        "Count the smallest GPT-2, whose only other sizes are `50257` tokens and `max_length=1024`: which part has grown?",
        [(BERT, BERT.replace("30522", "50257").replace("512)", "1024)"))],
    ),
]
REMARKS = []

FULL = {
    'Pass `scheme="published"` to the `Stack` of `at_the_start`: where has the collapse gone?': [
        [(STACK, STACK.replace("C=64", 'C=64, scheme="published"'))]
    ],
    "Take 6 blocks instead of 24, `at_the_start(order, L=6)`.": [[(START, START.replace("(order)", "(order, L=6)"))]],
    'Double the standard deviation of the small weights, `(post_norm, "published", 2)`, and double it again until training '
    "breaks.": [[(SMALL, SMALL.replace("1", scale))] for scale in ("2", "4", "8")],
}

VARIATIONS = [
    [(BERT, "config = TransformerConfig(10, 8, layers=1, heads=2, feed_forward=3, max_length=4)")],
    [("B, T, C, epsilon = 2, 5, 6, 0.1", "B, T, C, epsilon = 1, 1, 768, 1e-12")],
    [("(rng.normal(size=(7, 768)), 1e-12)", "(rng.normal(size=(2, 3)), 0)")],
    [("F = 7\n", "F = 1\n")],
    [("x = np.linspace(-4, 4, 161)", "x = np.linspace(-40, 40, 3)")],
    [("B, T, H, C, F = 2, 5, 2, 6, 7", "B, T, H, C, F = 1, 1, 1, 3, 2")],
    [("library.TransformerBlock(C, 4, 2 * C)", "library.TransformerBlock(C, 1, C)")],
    [(LOSSES, "steps = 3\n" + LOSSES)],
    [("for L in (2, 8, 32)", "for L in (1, 3)")],
    [('words = "the plot is thin , but the cast is a delight .".split()', 'words = "Zyzzyva again".split()')],
    [("widths = (64, 128, 256) if FAST", "widths = (32,) if FAST")],
]
