"""Notebook 02: what "What to try" says, done literally, and one change more in every section."""

SIZES = "sizes = np.logspace(-13, -0.5, 26)"
SINGLE = "theta, X, y = (a.astype(np.float32) for a in (theta, X, y))\n"
NAIVE = "    naive_loss = -np.log(one - sigma)"
NO_SLOPE = "    d_sigma = d_sigma * (sigma < 1 - 1e-7)\n"
CLIP = "    sigma = sigma.clip(1e-7, 1 - 1e-7)\n"
TWICE = "twice, once = ce.cross_entropy(perfect, np.array([2])), ce.sequence_cross_entropy(perfect, perfect)"
LOOP = "    W[name], curves[name] = trained(start, slope)"

TRY = [
    (
        "Do the same in single precision: put `theta, X, y = (a.astype(np.float32) for a in (theta, X, y))` above the line of "
        "`sizes`.",
        [(SIZES, SINGLE + SIZES)],
    ),
    (
        "Where is the best $h$ now? (This is why the tests of this project run in double precision.)",
        [(SIZES, "theta, X = theta.astype(np.float32), X.astype(np.float32)\n" + SIZES)],
    ),
    *(
        (
            "Put two lines above the line of `naive_loss`: `d_sigma = d_sigma * (sigma < 1 - 1e-7)`, because a clipped value "
            "has no slope, and `sigma = sigma.clip(1e-7, 1 - 1e-7)`. What is the slope at $z = 20$ now, and what does a model "
            "learn from its worst mistakes?",
            [(NAIVE, lines + NAIVE), ("after", NAIVE, "print(naive_slope[z == 20])")],
        )
        for lines in (NO_SLOPE + CLIP, CLIP)
    ),
    (
        "Make the logits ten times as large, `[ce.softmax_gradient(10 * z, row) for row in np.eye(K)]`: how large is the "
        "largest entry of the Jacobian, now that $\\hat y$ is nearly certain?",
        [("after", TWICE, "np.abs([ce.softmax_gradient(10 * z, row) for row in np.eye(K)]).max()")],
    ),
    (
        "Make the logits ten times as large, `[ce.softmax_gradient(10 * z, row) for row in np.eye(K)]`: how large is the "
        "largest entry of the Jacobian, now that $\\hat y$ is nearly certain?",
        [("rng.normal(scale=1.5, size=K), K - 2", "rng.normal(scale=1500, size=K), K - 2")],
    ),
    (
        "Then call `ce.cross_entropy_gradient(z[None], np.array([answer]), smoothing=0.1)`: what becomes of $\\hat y - y$?",
        [
            (
                "after",
                TWICE,
                "print(ce.cross_entropy_gradient(z[None], np.array([answer]), smoothing=0.1)[0], y_hat - y)",
            )
        ],
    ),
    (
        'Below the loop, add `curves["as printed, later"] = trained(W["as corrected"], slopes["as printed"])[1]`: what does '
        "the printed loss do to a model that is already good?",
        [(LOOP, LOOP + '\ncurves["as printed, later"] = trained(W["as corrected"], slopes["as printed"])[1]')],
    ),
    (
        "Give `Number` an `exp` and a division, and build the sigmoid $M = e^z/(e^z + 1)$ out of them: which slope has $M$ at "
        "$z = 1$, and is it $M(1-M)$?",
        [
            (
                "        return Number(t, [(self, 1 - t**2)])",
                "        return Number(t, [(self, 1 - t**2)])\n\n"
                "    def exp(self):\n"
                "        e = np.exp(self.value)\n"
                "        return Number(e, [(self, e)])\n\n"
                "    def __truediv__(self, other):\n"
                "        ratio = self.value / other.value\n"
                "        return Number(ratio, [(self, 1 / other.value), (other, -ratio / other.value)])",
            ),
            (
                "after",
                'print("with += the slope is',
                "z = Number(1.0)\ne = z.exp()\nM = e / (e + Number(1.0))\nM.backward()\n"
                "print(f'slope {z.slope:.12f}, M(1 - M) {M.value * (1 - M.value):.12f}')",
            ),
        ],
    ),
    (
        "In the cell of the small network, call `loss.backward()` twice: what are the slopes then, and why?",
        [("loss.backward()\n", "loss.backward()\nloss.backward()\n")],
    ),
]
REMARKS = [
    "(This is why attention divides its scores by $\\sqrt{D}$; see notebook 04.)",
    "A common patch is to clip $\\hat y$ to $[10^{-7}, 1 - 10^{-7}]$, which makes the loss finite.",
    "Let the printed loss start from the weights that the right loss has found.",
]

VARIATIONS = [
    [("truth = 30, [0.5, 2.0, -1.0]", "truth = 12, [0.5, 2.0, -1.0, 3.0, 1.0]")],
    [("h=1e-5", "h=1e-2")],
    [(SIZES, "sizes = np.logspace(-16, 1, 8)")],
    [("collapsed = (y_hat - y) @ X / N", "collapsed = (y_hat - y) @ X")],
    [("np.linspace(-5, 30, 141", "np.linspace(-5, 5, 41")],
    [("K = 5", "K = 3")],
    [("K = 5", "K = 12")],
    [("np.array([0.5, 0.7, 0.9, 0.99, 0.999])", "np.array([1.0, 0.4])")],
    [("W = W - 2.0 * pixels", "W = W - 200.0 * pixels")],
    [("hidden = 3", "hidden = 5")],
    [("widths = [1, 2, 4, 8, 16, 32, 64]", "widths = [1, 100]")],
    [("a = Number(3.0)", "a = Number(-0.5)")],
]
