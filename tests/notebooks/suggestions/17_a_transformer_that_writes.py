"""Notebook 17: what "What to try" says, done literally, and one change more in every section."""

START = 'gpt = new_gpt("neighbours")'
CONTEXT = "feed_forward=256, max_length=T)"
COUNTED = "model = KneserNey(framed(seen, BEGIN, END, N), V, N, BEGIN)"
STEPS = "steps = 20 if FAST else 400"
WINDOWS = "rows(64, window + 1, generator)"
NEW = "new = 20 if FAST else 100"
CUT = "k, p = 5, 0.9"
BEAMS = "for beams in (1, 8)"
NAMES = 'claim("Eight beams find a text at least as probable as one beam.", means["beams: 8"] >= means["beams: 1"])'
HUMAN = (
    'claim("Human text is more than half a nat per letter less probable.", means["a human"] < means["beams: 8"] - 0.5)'
)

TRY = [
    (
        'Begin with heads that look nowhere in particular: `"fan-in"` instead of `"neighbours"`.',
        [(START, START.replace("neighbours", "fan-in"))],
    ),
    (
        "Set `max_length=12` for the model, so that each letter looks back at only eleven others.",
        [(CONTEXT, CONTEXT.replace("=T", "=12"))],
    ),
    (
        "Learn from a tenth of the reviews: `seen[::10]` where the n-grams are counted. Which $N$ is best now?",
        [(COUNTED, COUNTED.replace("seen", "seen[::10]"))],
    ),
    (
        "Train the GPT for twice as many `steps`. Which memory does it overtake?",
        [(STEPS, "steps = 40 if FAST else 800")],
    ),
    (
        "Give the one label a larger batch, `rows(256, window + 1, generator)` instead of 64: how far does four times the work "
        "bring it?",
        [(WINDOWS, "rows(256, window + 1, generator)")],
    ),
    (
        "Write 400 letters instead of 100: `new = 400`. By what factor does the number of products grow with a cache, and by what "
        "factor without one?",
        [(NEW, "new = 400")],
    ),
    (
        "Set `p = 0.5`. How many letters are kept in each place?",
        [(CUT, "k, p = 5, 0.5")],
    ),
    (
        'Let 30 beams search: `beams in (1, 30)` (and `"beams: 30"` for `"beams: 8"` in the claims). Is the text better?',
        [
            (BEAMS, "for beams in (1, 30)"),
            (NAMES, NAMES.replace("beams: 8", "beams: 30")),
            (HUMAN, HUMAN.replace("beams: 8", "beams: 30")),
        ],
    ),
]
REMARKS = []

VARIATIONS = [
    [("T, B = (24, 8) if FAST else (48, 32)", "T, B = 9, 3")],
    [("T // 2] = number", "0] = number")],
    [("orders = range(1, 5 if FAST else 9)", "orders = range(1, 4)")],
    [("window = 12 if FAST else 50", "window = 3")],
    [("length, D = 6, 4", "length, D = 3, 7")],
    [('"the movie ")]', '"a")]')],
    [('for text in ("the mo", "i ", "it is q")', 'for text in ("x",)')],
    [("scores = np.array([-1.0, -1.2])", "scores = np.array([-1.0, -9.0])")],
    [("length = 20 if FAST else 60", "length = 7")],
]
