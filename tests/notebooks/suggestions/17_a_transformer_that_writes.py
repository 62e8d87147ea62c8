"""Notebook 17: what "What to try" says, done literally, and one change more in every section."""

PLACE = "row.clone(), T // 2"
FIT = "curve = fit(gpt, "
COUNTED = "model = KneserNey(framed(seen, BEGIN, END, N), V, N, BEGIN)"
WINDOW = "window = 12 if FAST else 50"
NEW = "new = 20 if FAST else 100"
CUT = "k, p = 5, 0.9"
BEAMS = "for beams in (1, 8)"
NAMES = 'claim("Eight beams find a text at least as probable as one beam.", means["beams: 8"] >= means["beams: 1"])'
HUMAN = (
    'claim("Human text is more than half a nat per letter less probable.", means["a human"] < means["beams: 8"] - 0.5)'
)

TRY = [
    (
        "Change the last letter instead of one in the middle: `place = T - 1` (the second value in the line with `other, place`). "
        "How many rows of $z$ change now?",
        [(PLACE, "row.clone(), T - 1")],
    ),
    (
        'Train a model whose heads begin by looking nowhere in particular: `new_gpt("fan-in")` instead of `gpt` in the line '
        "with `curve = fit`.",
        [(FIT, 'curve = fit(new_gpt("fan-in"), ')],
    ),
    (
        "Learn from a tenth of the reviews: `seen[::10]` where the n-grams are counted. Which $N$ is best now?",
        [(COUNTED, COUNTED.replace("seen", "seen[::10]"))],
    ),
    (
        "Shorten the passages to ten letters: `window = 10`. Is the difference still as large?",
        [(WINDOW, "window = 10")],
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
    [(PLACE, "row.clone(), 0")],
    [("steps = 20 if FAST else 400", "steps = 9")],
    [("orders = range(1, 5 if FAST else 9)", "orders = range(1, 4)")],
    [("window = 12 if FAST else 50", "window = 3")],
    [("length, D = 6, 4", "length, D = 3, 7")],
    [('"the movie ")]', '"a")]')],
    [('for text in ("the mo", "i ", "it is q")', 'for text in ("x",)')],
    [("scores = np.array([-1.0, -1.2])", "scores = np.array([-1.0, -9.0])")],
    [("length = 20 if FAST else 60", "length = 7")],
]
