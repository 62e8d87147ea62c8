"""Notebook 08: what "What to try" says, done literally, and one change more in every section."""

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
]
REMARKS = []

ERROR = 'print(f"error of δW_h: {errors[0]:.0%} without any step back in time, {errors[-1]:.0e} with all steps")'
FULL = {
    "Multiply $W_h$ by 2, then by ½, by the line `W_h = 2 * W_h` below the one that draws the first weights: how far "
    "back must you go for an error below one percent?": [
        [
            (DRAW, f"{DRAW}\nW_h = {factor} * W_h"),
            ("after", ERROR, 'print("steps back for an error below one percent:", np.argmax(errors < 0.01))'),
        ]
        for factor in ("2", "0.5")
    ],
    "Add `np.sqrt(2)` to `gains`, the value that makes up for the units of ReLU that are off.": [
        [(GAINS, GAINS.replace("(1.0, 2.0)", "(1.0, 2.0, np.sqrt(2))"))]
    ],
    "Use 400 steps.": [[(GAINS, GAINS.replace("100", "400"))]],
}

VARIATIONS = [
    [("T, I, H, V = 9, 3, 5, 4", "T, I, H, V = 4, 1, 2, 7")],
    [("T, I, H, V = 9, 3, 5, 4", "T, I, H, V = 30, 5, 6, 6")],
    [("y = rng.integers(V, size=T)", "y = np.zeros(T, dtype=int)")],
    [('line = "to be or not to be that is the question "', 'line = "春眠不觉晓，处处闻啼鸟。"')],
    [(GAINS, "H_, steps, gains = 3, 7, (0.5, 1.5, 3.0, 4.0, 5.0)")],
]
