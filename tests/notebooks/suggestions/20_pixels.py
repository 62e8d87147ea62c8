"""Notebook 20: what "What to try" says, done literally, and one change more in every section."""

SHOWN = "shown = np.stack"
S = "s = 0.3\n"
WALK, PIXEL = "walk = 200\n", "pixel = learn.x[:, 20]"
START = "start = 0.1 * rng.normal(size=(m, K))"
STEPS = "steps = 20 if FAST else 500"
POSITIONS = 'positions="learned"'
DRAWN = "each, temperature = (2 if FAST else 10), 1.0"
WORLDS = "worlds = np.stack"
FIRST = "first = m  #"

TRY = [
    (
        "Read the picture column by column: look at `learn.x[0].reshape(8, 8).T.ravel()[:20].tolist()`. Is it still a "
        "picture for the model?",
        [("after", SHOWN, "learn.x[0].reshape(8, 8).T.ravel()[:20].tolist()")],
    ),
    ("Set `s` to 100. Which of the two histograms suffers more, and why?", [(S, "s = 100\n")]),
    (
        "Walk for ten times as many steps, `walk = 2000`: how does the loss as printed grow?",
        [(WALK, "walk = 2000\n")],
    ),
    (
        "Take the first pixel, `pixel = learn.x[:, 0]`, which is always white. What is its maximum likelihood, and why do "
        "we add $s$?",
        [(PIXEL, "pixel = learn.x[:, 0]")],
    ),
    *(
        (
            "Start with larger numbers, `start = 1.0 * rng.normal(size=(m, K))`. Is the printed aim now better?",
            [(START, f"start = {size} * rng.normal(size=(m, K))")],
        )
        for size in ("1.0", "0.0", "100.0")
    ),
    (
        "Train for half as many `steps`, 250. How many bits does that cost?",
        [(STEPS, "steps = 10 if FAST else 250")],
    ),
    *(
        (
            "Draw at the `temperature` 0.5. What do the digits gain, and what do they lose?",
            [(DRAWN, DRAWN.replace("1.0", temperature))],
        )
        for temperature in ("0.5", "0.0", "3.0")
    ),
    (
        "Give the upper half of real digits, let the model draw the lower one, and ask the judge: "
        "`half = draw_pictures(model, test, test.y[:100].tolist(), begun=test.x[:100, :32])`, then "
        "`judge.score(half / (G - 1), test.y[:100])`.",
        [
            (
                *("after", WORLDS),
                "half = draw_pictures(model, test, test.y[:100].tolist(), begun=test.x[:100, :32])\n"
                "judge.score(half / (G - 1), test.y[:100])",
            )
        ],
    ),
    *(
        (
            "Read only the upper half of every picture, `first = 32`. How many digits does the model still read?",
            [(FIRST, f"first = {first}  #")],
        )
        for first in ("1", "32")
    ),
]
REMARKS = []

# At full size: one change for each sentence.
FULL = {
    "Start with larger numbers, `start = 1.0 * rng.normal(size=(m, K))`. Is the printed aim now better?": [
        [(START, "start = 1.0 * rng.normal(size=(m, K))")]
    ],
    "Draw at the `temperature` 0.5. What do the digits gain, and what do they lose?": [
        [(DRAWN, DRAWN.replace("1.0", "0.5"))]
    ],
    "Read only the upper half of every picture, `first = 32`. How many digits does the model still read?": [
        [(FIRST, "first = 32  #")]
    ],
}

# Every third one runs in the suite, so the long ones stand between.
VARIATIONS = [
    [("candidates = (1e-9, 1e-3, 1e-2, 0.1, 0.3, 1.0, 10.0, 100.0)", "candidates = (1.0,)")],
    [("split(digits(), held, held, seed=0)", "split(digits(), held, held, seed=None)")],
    [("split(digits(), held, held, seed=0)", "split(digits(), 900, 600, seed=7)")],
    [("pixel, 2.0, walk)  # [walk", "pixel, 50.0, walk)  # [walk")],
    [(POSITIONS, 'positions="relative"')],
    [("place = 36", "place = 20")],
    [("0.5 * ink.T", "0.01 * ink.T")],
    [("5 if FAST else 30", "1 if FAST else 2")],
    [("order = np.argsort(p[own])[:6]", "order = np.argsort(-p[own])[:6]")],
]
