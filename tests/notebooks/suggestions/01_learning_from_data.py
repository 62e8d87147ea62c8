"""Notebook 01: what "What to try" says, done literally, and one change more in every section."""

ABSOLUTE = ("return (p - y) ** 2  # the squared error of a prediction", "return abs(p - y)")
SAMPLES = "y = 0.5 + 2 * x + rng.normal(scale=0.4, size=N)  # the truth, which the model does not know, plus noise"
WILD = (SAMPLES, SAMPLES + "\ny[0] = 10")
BATCHES = "batch_size, eta = 4, 0.3"
MOMENTUM = "optimizers.momentum_step(th, g, m, learning_rate, 0.9)"
POINTS = "x_train, x_new = np.sort(rng.uniform(-1, 1, 12)), np.linspace(-0.95, 0.95, 200)"

TRY = [
    ("Replace the square in `loss` by the absolute error, `abs(p - y)`: what happens to the rings?", [ABSOLUTE]),
    (
        "Make one example wild by adding `y[0] = 10` below the line of `y`: which of the two losses reacts more strongly?",
        [WILD],
    ),
    (
        "Make one example wild by adding `y[0] = 10` below the line of `y`: which of the two losses reacts more strongly?",
        [ABSOLUTE, WILD],
    ),
    (
        "Use exactly `1.00 * limit` in place of `1.03 * limit`: where does the walk end?",
        [("1.03 * limit", "1.00 * limit")],
    ),
    (
        "Then use `0.5 * limit`, which finishes the steepest direction in a single step: why does the whole walk still need "
        "more steps?",
        [("1.03 * limit", "0.5 * limit")],
    ),
    *(("Set `batch_size` to 1, then to 20.", [(BATCHES, f"batch_size, eta = {size}, 0.3")]) for size in (1, 20, 7)),
    (
        "Set the learning rate `eta` to 0.05: it is slower, but how much nearer does it get?",
        [(BATCHES, "batch_size, eta = 4, 0.05")],
    ),
    (
        "Use momentum 0.99: is it faster, or does it swing past the goal?",
        [(MOMENTUM, "optimizers.momentum_step(th, g, m, learning_rate, 0.99)")],
    ),
    (
        "Use momentum 0.99: is it faster, or does it swing past the goal?",
        [(MOMENTUM, "optimizers.momentum_step(th, g, m, learning_rate, 0.5)")],
    ),
    (
        "Then try the oldest remedy of all: write `far_x = x - x.mean()` and see what is left of the valley.",
        [("far_x = x + 2", "far_x = x - x.mean()")],
    ),
    (
        "Use `betas = (0.9, 0.999)`, a longer memory: does the run with the constant learning rate move further away?",
        [("betas = 400, 1000, (0.9, 0.99)", "betas = 400, 1000, (0.9, 0.999)")],
    ),
    (
        "Use a cosine instead of the line in `rates`: `optimizers.warmup_cosine(p, 0.1)`.",
        [("lambda p: optimizers.warmup_linear(p, 0.1),", "lambda p: optimizers.warmup_cosine(p, 0.1),")],
    ),
    *(
        (
            "Set `answer` to 0.7 instead of 1 and print `y_hat[entropy.argmin()]`: at which $\\hat y$ is the cross-entropy "
            "least?",
            [
                ("answer = 1.0  # yes", f"answer = {answer}"),
                ("after", "answer = 1.0  # yes", "print(y_hat[entropy.argmin()])"),
            ],
        )
        for answer in (0.7, 0)
    ),
    *(
        (
            "Let `decay` be $10^{-6}$, $10^{-5}$ and so on up to 10: which value is best?",
            [("decay = 1e-3", f"decay = 1e{power}")],
        )
        for power in (-6, 1)
    ),
    (
        "Let `decay` be $10^{-6}$, $10^{-5}$ and so on up to 10: which value is best?",
        [
            (
                "after",
                "smooth = fitted(11, decay)",
                "for decay in 10.0 ** np.arange(-6, 2):\n    print(decay, risk_at(fitted(11, decay), x_new, y_new))",
            )
        ],
    ),
    *(
        (
            "Use twice as many points, `rng.uniform(-1, 1, 24)`: what is left of the overfitting?",
            [(POINTS, POINTS.replace("12", str(points)))],
        )
        for points in (24, 6)
    ),
    *(
        ("Use patience 1: does it stop too early?", [("patience=10)", f"patience={patience})")])
        for patience in (1, 10_000)
    ),
]
REMARKS = ["(At $\\hat y = 0$ the logarithm has no value. Notebook 02 deals with that.)"]

VARIATIONS = [
    [("N = 40", "N = 24")],
    [("rng.uniform(-1, 1, N)", "rng.uniform(-3, 3, N)")],
    [("np.zeros(2), learning_rate=0.3, steps=100", "np.zeros(2), learning_rate=0.03, steps=10")],
    [("guess = np.array([-0.5, 0.5])", "guess = np.array([3.0, -1.0])")],
    [("path = walk(guess, learning_rate, 25)", "path = walk(guess, learning_rate, 5)")],
    [("eta = 4, 0.3", "eta = 4, 3.0")],
    [("far_x = x + 2", "far_x = x + 20")],
    [("eta, decay, ends = 0.01, 0.1, {}", "eta, decay, ends = 0.01, 1.0, {}")],
    [("size=(200, 2, 500)", "size=(20, 2, 50)")],
    [("N_steps, walkers", "walkers, N_steps")],
    [("N_steps, walkers, betas = 400, 1000", "N_steps, walkers, betas = 30, 10")],
    [("z = np.linspace(-8, 8, 161)", "z = np.linspace(-30, 30, 61)")],
    [("scale=0.25", "scale=0")],
    [("rng = np.random.default_rng(0)", "rng = np.random.default_rng(7)")],
]
