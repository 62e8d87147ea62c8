"""Notebook 09: what "What to try" says, done literally, and one change more in every section."""

GATES = "b_i, b_g, b_o = -50.0, 0.0, 0.0"
GRU = "W_x, W_h, b, b_h = (rng.normal(size=s) for s in ((3 * H, I), (3 * H, H), (3 * H,), (3 * H,)))"
FORMS = 'print(f"largest difference between the states, which lie within ±1: {as_drawn:.2f}")'
SCALES = "scales = (1.0, 4.0)\n"
DESCEND = "def descend(c, start=(1.5, 0.3), steps=60, learning_rate=0.1):"
EVERY = "model, every = learn(lambda y: y, steps)"
MODEL = "    model = LSTMLanguageModel(LSTMConfig(vocab_size=V), generator=torch.Generator().manual_seed(1))"

TRY = [
    *(
        (
            "Set the bias of the output gate, `b_o`, to −50: what does the network show, and what does it still know?",
            [(GATES, f"b_i, b_g, b_o = -50.0, 0.0, {bias}")],
        )
        for bias in ("-50", "50.0")
    ),
    (
        "Open the input gate too, `b_i = 50.0`, and give $g$ a bias, `b_g = 1.0`: where does the memory settle?",
        [(GATES, "b_i, b_g, b_o = 50.0, 1.0, 0.0")],
    ),
    (
        "Set the bias of $z$ to 50, `b[H : 2 * H] = 50` below the line that draws the weights: what has become of the gradient "
        "of the first state, `gru_gradients(x, zero, W_x, W_h, b, b_h, dh)[1]`?",
        [(GRU, GRU + "\nb[H : 2 * H] = 50"), ("after", FORMS, "gru_gradients(x, zero, W_x, W_h, b, b_h, dh)[1]")],
    ),
    (
        "Time both forms, `%timeit gru(x, zero, W_x, W_h, b, none)` and `%timeit gru_reset_before(x, zero, W_x, W_h, b)`: how "
        "many products with $W_h$ does each form need per step?",
        [
            (
                "after",
                FORMS,
                "%timeit -n 2 -r 2 gru(x, zero, W_x, W_h, b, none)\n"
                "%timeit -n 2 -r 2 gru_reset_before(x, zero, W_x, W_h, b)",
            )
        ],
    ),
    *(
        (
            "Use `scales = (1.0, 2.0)`, since 2 happens to be a lucky value for tanh. Would it stay lucky during training?",
            [(SCALES, f"scales = {scales}\n")],
        )
        for scales in ("(1.0, 2.0)", "(0.0,)", "(1.0, 2.0, 4.0)")
    ),
    (
        "Use a bias of 4 on the GRU's update gate, which stands in the very same block: add "
        '`cells["GRU, update bias 4"] = ("gru", 4)` above the line of `scales`.',
        [(SCALES, 'cells["GRU, update bias 4"] = ("gru", 4)\n' + SCALES)],
    ),
    *(("Use `c = 20.0`: is that enough?", [("c = 1.0\n", f"c = {c}\n")]) for c in ("20.0", "0")),
    (
        "Start at `(1.8, 0.6)` with a learning rate of 0.3, the defaults of `descend`.",
        [(DESCEND, DESCEND.replace("(1.5, 0.3)", "(1.8, 0.6)").replace("0.1", "0.3"))],
    ),
    *(
        (
            "Use 5 steps instead of 50, `T=5` in `cliff`: is there still a cliff?",
            [("def cliff(W, b, T=50):", f"def cliff(W, b, T={T}):")],
        )
        for T in (5, 1)
    ),
    (
        "Train ten times as long, `10 * steps` for `model, every`, and then let the model write: begin with "
        "`ids_ = ids[:1]`, and repeat "
        "`ids_ = torch.cat([ids_, model(ids_[None])[0, -1].softmax(dim=-1).multinomial(1)])`, in which the model reads its own "
        'guesses. What does `"".join(letters[i] for i in ids_)` say?',
        [
            (EVERY, EVERY.replace("steps", "10 * steps")),
            (
                "after",
                EVERY,
                "ids_ = ids[:1]\nfor _ in range(40):\n"
                "    ids_ = torch.cat([ids_, model(ids_[None])[0, -1].softmax(dim=-1).multinomial(1)])\n"
                '"".join(letters[i] for i in ids_)',
            ),
        ],
    ),
    *(
        (
            "Use one layer instead of two: `LSTMConfig(vocab_size=V, layers=1)`.",
            [(MODEL, MODEL.replace("vocab_size=V", f"vocab_size=V, layers={layers}"))],
        )
        for layers in (1, 3)
    ),
    (
        "Use a forget bias of 4, as for vanishing gradients, in both cells: "
        "`for cell in model.encoder.lstm.cells: cell.b.data[128:256] = 4`, below the line of `model`.",
        [(MODEL, MODEL + "\n    for cell in model.encoder.lstm.cells: cell.b.data[128:256] = 4")],
    ),
]
REMARKS = ["(Notebook 11 does more of this.)"]

VARIATIONS = [
    [("for bias, colour in zip((0.0, 1.0, 4.0), COLOURS)", "for bias, colour in zip((-3.0, 2.0), COLOURS)")],
    [("biases = np.linspace(-6, 12, 37)", "biases = np.array([0.0])")],
    [("H=64, T=101, B=4 if FAST else 16", "H=8, T=20, B=1")],
    [("return miss**2, np.array([dW.item(), db.item()])", "return miss**2, 100 * np.array([dW.item(), db.item()])")],
    [("V, T = len(letters), 50", "V, T = len(letters), 8")],
]
