"""Notebook 25: what "What to try" says, done literally, and one change more in every section."""

LOSS = "S = formulas.similarities(u, v, s)\ni = np.arange(N)"
SCALE = "s = 1 / 0.07  # where CLIP starts"
STEPS = "steps, size = (30 if FAST else 1200)"
ASKED = '"a bold three that leans to the right"]'
WAYS = "ways = [(stroke, lean, wording) for stroke in range(3) for lean in range(3) for wording in LEARNED]"

TRY = [
    (
        "Give the texts the vectors of their pictures, `S = formulas.similarities(u, u, s)`. What is the loss now?",
        [("after", LOSS, "formulas.contrastive_loss(formulas.similarities(u, u, s))")],
    ),
    (
        "Set the scale `s = 1.0`. Can the loss of pictures and texts that have the same vectors, `(u, u, s)`, still be small?",
        [(SCALE, "s = 1.0"), ("after", LOSS, "formulas.contrastive_loss(formulas.similarities(u, u, s))")],
    ),
    (
        "Train for a quarter of the `steps`, 300. How far does the loss come?",
        [(STEPS, "steps, size = (8 if FAST else 300)")],
    ),
    (
        'Ask for what does not exist here: add `"a seven that is a three"` to `asked`. What comes?',
        [(ASKED, '"a bold three that leans to the right", "a seven that is a three"]')],
    ),
    (
        "Use one sentence per digit, `ways = [(1, 1, LEARNED[0])]`, which says neither stroke nor lean. How much does that cost?",
        [(WAYS, "ways = [(1, 1, LEARNED[0])]")],
    ),
]
REMARKS = []
FULL = {}

# Every third one runs in the suite, so the long ones stand between.
VARIATIONS = [
    [("split(digits(), held, held, seed=0)", "split(digits(), held, held, seed=None)")],
    [("N, D = 24, 8", "N, D = 2, 1")],
    [("(best_vectors, best_vectors, 100.0)", "(best_vectors, best_vectors, 30.0)")],
    [("width=32, layers=1", "width=16, layers=2")],
    [("UNSEEN[k % 2]) for k, kind in enumerate(kinds)", "LEARNED[k % 2]) for k, kind in enumerate(kinds)")],
    [
        (
            "ways = [(stroke, lean, wording) for stroke in range(3)",
            "ways = [(stroke, lean, wording) for stroke in (0, 2)",
        )
    ],
    [("seed=1)\nsaid_of_tune", "seed=1, apart=False)\nsaid_of_tune")],
]
