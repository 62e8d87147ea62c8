"""Notebook 14: what "What to try" says, done literally, and one change more in every section."""

GUESSES = "p=[0.9, 0.1, 0.0]"
TRUTH = "p=[0.80, 0.15, 0.05]"
LAZY = "np.zeros(N, dtype=int)"
ROWS = "rows = list(metrics.D4_TABLE)"
ONCE = "for name, kinds in book.items()}"
ORDER = "order = rng.permutation(len(lines))"
GAINS = 'claim("Entity F1 gains more than five times as much as accuracy."'
SIZES = "sizes = (25, 100, 1000, 10_000)"
STEP = "    moved = A.copy()\n    moved[0, 1] = a\n    return E, moved, start, end, y"
ALPHA = "alpha = start + E[0]\n"
ZEROS = "A, start, end = np.zeros((len(TAGS), len(TAGS))), np.zeros(len(TAGS)), np.zeros(len(TAGS))"

TRY = [
    *(
        (
            "Let `y_hat` guess class 2 now and then, `p=[0.85, 0.1, 0.05]`: which of the nine counts change?",
            [(GUESSES, f"p={p}")],
        )
        for p in ([0.85, 0.1, 0.05], [1, 0, 0])
    ),
    *(
        (
            "Make class 0 rarer, `p=[0.4, 0.4, 0.2]` in the line of `y`: where does accuracy go, and why?",
            [(TRUTH, f"p={p}")],
        )
        for p in ([0.4, 0.4, 0.2], [0, 0, 1])
    ),
    (
        "Find a `y_hat` whose macro F1 is *above* its micro F1, such as `np.where((y == 0) & (rng.random(N) < 0.3), 1, y)` in "
        "place of `np.zeros(N, dtype=int)`: what is special about it?",
        [(LAZY, "np.where((y == 0) & (rng.random(N) < 0.3), 1, y)")],
    ),
    *(
        (
            "Change one row's $P$ to the value that its printed $F_1$ needs, such as `rows[0] = rows[0]._replace(P=0.930)` below "
            "the line of `rows`: what else in the report changes?",
            [(ROWS, f"{ROWS}\nrows[{row}] = rows[{row}]._replace(P={P})")],
        )
        for row, P in ((0, 0.930), (1, 0.867), (8, 0.5))
    ),
    (
        "Remove the names that were seen only once, with `if kinds.total() > 1` at the end of the line with `most_common`: how "
        "do precision, recall and F1 change?",
        [(ONCE, "for name, kinds in book.items() if kinds.total() > 1}")],
    ),
    (
        "Put whole articles in random order, `order = np.concatenate([parts[i] for i in rng.permutation(len(parts))])`: by how "
        "much does it flatter?",
        [(ORDER, "order = np.concatenate([parts[i] for i in rng.permutation(len(parts))])")],
    ),
    (
        "Add 3_000 and 30_000 to `sizes`: how many examples do you need to tell 0.92 from 0.93?",
        [(SIZES, "sizes = (25, 100, 1000, 10_000, 3_000, 30_000)")],
    ),
    *(
        (
            "Move a number of $E$ instead, with `moved = E.copy()`, `moved[0, 0, 1] = a` and `return moved, A, start, end, y` as "
            "the lines of `with_step`: at which value does the staircase jump, and how high is the jump?",
            [(STEP, f"    moved = E.copy()\n    moved{place} = a\n    return moved, A, start, end, y")],
        )
        for place in ("[0, 0, 1]", "[5, 7, 2]")
    ),
    *(
        (
            "Set $A_{OI}$, the −4 in the first row of `A`, to `-np.inf`: which marginals become exactly 0?",
            [("[[0.5, 0.5, -4],", f"[[0.5, 0.5, {score}],")],
        )
        for score in ("-np.inf", "4")
    ),
    (
        "Set all scores to zero, `E, A, start, end = 0 * E, 0 * A, 0 * start, 0 * end` above the line `alpha = start + E[0]`: "
        "what does `np.exp(log_Z)` count now?",
        [(ALPHA, f"E, A, start, end = 0 * E, 0 * A, 0 * start, 0 * end\n{ALPHA}")],
    ),
    (
        "Forbid the impossible steps from the beginning, `A[follows_nothing] = -np.inf` and "
        "`start[follows_nothing[0]] = -np.inf` below the line of `A, start, end`: is F1 even better?",
        [(ZEROS, f"{ZEROS}\nA[follows_nothing] = -np.inf\nstart[follows_nothing[0]] = -np.inf")],
    ),
    *(
        (
            'Let the emissions see the next character too, `return "".join(line.tokens[t : t + 2])` in `visible`: how much is '
            "left for the transitions to do?",
            [("    return line.tokens[t]\n", f"    return {visible}\n")],
        )
        for visible in ('"".join(line.tokens[t : t + 2])', '""')
    ),
]
REMARKS = [
    "The lines of one article may fall on both sides of our split, which flatters every number here.",
]

# At full size with a print in the next section, where entities are counted.
FULL = {
    "Put whole articles in random order, `order = np.concatenate([parts[i] for i in rng.permutation(len(parts))])`: by how much "
    "does it flatter?": [
        [
            (ORDER, "order = np.concatenate([parts[i] for i in rng.permutation(len(parts))])"),
            ("after", GAINS, 'print(f"accuracy {metrics.accuracy(C):.3f}, entity F1 {by_entity:.3f}")'),
        ]
    ],
}

VARIATIONS = [
    [("K, N = 3, 300", "K, N = 3, 40")],
    [("(support / support.sum()) @ F1", "support @ F1")],
    [(f"{ROWS}\n", f"{ROWS}[2:]\n")],
    [("lines[i] for i in order[: 300 if FAST else 1000]", "lines[i] for i in order[:5]")],
    [("range(min(len(characters), i + 12), i, -1)", "range(min(len(characters), i + 2), i, -1)")],
    [("np.linspace(0.8, 0.99, 20), 300 if FAST else 4000, 25", "np.linspace(0.5, 1, 3), 10, 3")],
    [("B, T, K = 6, 8, 3  #", "B, T, K = 1, 2, 4  #")],
    [('["Ann", "Lee", "met", "Bo", "in", "Rome"]', '["Ann", "Lee", "met", "Bo", "and", "Rome"]')],
    [("E = np.array([[0, 2, 0.5],", "E = np.array([[9, 2, 0.5],")],
    [("def batch(some, length=60):", "def batch(some, length=3):")],
]
