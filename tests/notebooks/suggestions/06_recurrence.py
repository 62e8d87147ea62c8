"""Notebook 06: what "What to try" says, done literally, and one change more in every section."""

FACTORS = "for factor, colour in zip((0.8, 0.95, 1.0, 1.2), COLOURS):"
PUSH = "push[0] = 1\n"
DRAW = "W_h, W_x, b_h, W_y, b_y = (rng.normal(size=s) / 2 for s in ((H, H), (H, I), (H,), (V, H), (V,)))"
DZ = "dz = y_hat - np.eye(V)[y]  # [T, V]"
INNER = "        W_h_, W_x_, b_h_ = W_h_ - learning_rate * dW, W_x_ - learning_rate * dX, b_h_ - learning_rate * db"
OUTPUT = (
    "\n        dW_y, db_y = rnn_loss_gradients(*net)[5:]"
    "\n        W_y_, b_y_ = W_y_ - learning_rate * dW_y, b_y_ - learning_rate * db_y"
)
GAINS = "H_, steps, gains = 64, 100, (1.0, 2.0)"
U = "    u = r.normal(size=H_) / np.sqrt(H_)"
GATES = "b_i, b_g, b_o = -50.0, 0.0, 0.0"
GRU = "W_x, W_h, b, b_h = (rng.normal(size=s) for s in ((3 * H, I), (3 * H, H), (3 * H,), (3 * H,)))"
FORMS = 'print(f"largest difference between the states, which lie within ±1: {as_drawn:.2f}")'
SCALES = "scales = (1.0, 4.0)\n"
DESCEND = "def descend(c, start=(1.5, 0.3), steps=60, learning_rate=0.1):"
EVERY = "model, every = learn(lambda y: y, steps)"
MODEL = "    model = LSTMLanguageModel(LSTMConfig(vocab_size=V), generator=torch.Generator().manual_seed(1))"

TRY = [
    (
        "Add −0.95 to the four factors of the picture: does the state shrink more slowly?",
        [(FACTORS, FACTORS.replace("1.2", "1.2, -0.95"))],
    ),
    (
        "Push a second time at step 30, `push[29] = 1`: does the state tell you that there were two pushes?",
        [(PUSH, PUSH + "push[29] = 1\n")],
    ),
    (
        "Use a `bias` other than zero, `np.full(16, 0.3)`, and look at 1.2 again.",
        [("bias = np.zeros(16)", "bias = np.full(16, 0.3)")],
    ),
    *(
        (
            "Multiply $W_h$ by 2, then by ½, by the line `W_h = 2 * W_h` below the one that draws the first weights: how far "
            "back must you go for an error below one percent?",
            [(DRAW, f"{DRAW}\nW_h = {factor} * W_h")],
        )
        for factor in ("2", "0.5", "0")
    ),
    (
        "Let only the last prediction count (`dz[:-1] = 0` below the line of `dz`), as when a whole text gets one label: what "
        "is left if you stop early?",
        [(DZ, DZ + "\ndz[:-1] = 0")],
    ),
    (
        "Move $W_y$ and $b_y$ too, by their true gradients, in all three runs: add the lines "
        "`dW_y, db_y = rnn_loss_gradients(*net)[5:]` and "
        "`W_y_, b_y_ = W_y_ - learning_rate * dW_y, b_y_ - learning_rate * db_y` at the end of the inner loop. How far behind "
        "the true gradient do the printed zeros stay? (With them the recurrent part stays random, and yet the loss falls: a "
        "random network with a trained output is called a reservoir.)",
        [(INNER, INNER + OUTPUT)],
    ),
    *(
        (
            "Add `np.sqrt(2)` to `gains`, the value that makes up for the units of ReLU that are off.",
            [(GAINS, GAINS.replace("(1.0, 2.0)", gains))],
        )
        for gains in ("(1.0, 2.0, np.sqrt(2))", "(np.sqrt(2),)")
    ),
    (
        "Start $W_h$ as the identity, `W_h = np.eye(H_)` above the line of `u`, and make the input ten times smaller, "
        "`r.normal(size=(steps, I)) / 10`: what does ReLU do now?",
        [
            (U, "    W_h = np.eye(H_)\n" + U),
            ("norms_through_time(r.normal(size=(steps, I)),", "norms_through_time(r.normal(size=(steps, I)) / 10,"),
        ],
    ),
    *(("Use 400 steps.", [(GAINS, GAINS.replace("100", steps))]) for steps in ("400", "3000")),
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
        "Use a forget bias of 4, as in the section above, in both cells: "
        "`for cell in model.encoder.lstm.cells: cell.b.data[128:256] = 4`, below the line of `model`.",
        [(MODEL, MODEL + "\n    for cell in model.encoder.lstm.cells: cell.b.data[128:256] = 4")],
    ),
]
REMARKS = ["(Notebook 08 does more of this.)"]

VARIATIONS = [
    [("T, I, H, V = 9, 3, 5, 4", "T, I, H, V = 4, 1, 2, 7")],
    [("T, I, H, V = 9, 3, 5, 4", "T, I, H, V = 30, 5, 6, 6")],
    [("y = rng.integers(V, size=T)", "y = np.zeros(T, dtype=int)")],
    [('line = "to be or not to be that is the question "', 'line = "春眠不觉晓，处处闻啼鸟。"')],
    [(GAINS, "H_, steps, gains = 3, 7, (0.5, 1.5, 3.0, 4.0, 5.0)")],
    [("for bias, colour in zip((0.0, 1.0, 4.0), COLOURS)", "for bias, colour in zip((-3.0, 2.0), COLOURS)")],
    [("biases = np.linspace(-6, 12, 37)", "biases = np.array([0.0])")],
    [("H=64, T=101, B=4 if FAST else 16", "H=8, T=20, B=1")],
    [("return miss**2, np.array([dW.item(), db.item()])", "return miss**2, 100 * np.array([dW.item(), db.item()])")],
    [("V, T = len(letters), 50", "V, T = len(letters), 8")],
]
