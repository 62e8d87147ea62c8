"""Notebook 11: what "What to try" says, done literally, and one change more in every section."""

ADDED = "added = 1\n"
WITHOUT = 'claim("Without an addition the perplexity is infinite.", impossible == np.inf)'
S = "s = 2.0\n"
READ = "400 if FAST else 60"
STEPS = "steps = 20 if FAST else 250"
LSTM = "LSTMConfig(V, embedding=32, hidden=128, layers=1)"
RETURN = "    return z\n"
PAIRS = "for temperature in (1.0,):"
QUESTION = 'question, reply = "how did you like the film? ", "it was a joy!"'
SCORES = 'claim("The accuracy stays the same.", scores[0][0] == scores[1][0])'
MASKS = '(("left only, as printed", masked_word_context_as_printed), ("both sides", masked_word_context))'
SHARE = "share_hidden = 0.15"
BEST = 'print(f"the best memory has {best} letters")'

TRY = [
    (
        "After which letter is the next one hardest to predict? (Look for the row of $P$ with the smallest maximum, "
        "`alphabet[P.max(axis=1).argmin()]`.)",
        [("after", WITHOUT, "alphabet[P.max(axis=1).argmin()]")],
    ),
    *(
        ("Set `added` to a million. Which perplexity do you get, and why?", [(ADDED, f"added = {added}\n")])
        for added in ("1_000_000", "1e-9")
    ),
    *(
        ("Set `s` to 20. Does the best memory become longer or shorter?", [(S, f"s = {s}\n")])
        for s in ("20", "0.01", "1e6")
    ),
    (
        "Use ten times as much text (change `60` to `6` where the reviews are read). What is the best memory now?",
        [(READ, "40 if FAST else 6")],
    ),
    (
        "Use ten times as much text (change `60` to `6` where the reviews are read). What is the best memory now?",
        [(READ, "8000 if FAST else 6000")],
    ),
    (
        "Train for four times as many `steps`. Which tables does the network overtake?",
        [(STEPS, "steps = 80 if FAST else 1000")],
    ),
    (
        "Set `layers=2`, the depth that D1 uses. Is it better after the same number of steps, or only slower?",
        [(LSTM, LSTM.replace("layers=1", "layers=2"))],
    ),
    (
        "Draw only from the three likeliest letters: `return np.where(z < np.sort(z)[-3], -np.inf, z)` in `after`.",
        [(RETURN, "    return np.where(z < np.sort(z)[-3], -np.inf, z)\n")],
    ),
    (
        "Let the table of pairs write at several temperatures, `(0.25, 0.5, 1.0)` instead of `(1.0,)`: at which τ does it "
        "write most like the LSTM?",
        [(PAIRS, "for temperature in (0.25, 0.5, 1.0):")],
    ),
    *(
        (
            'Make the question longer, `question = 3 * "how did you like the film? "`: how does the answer\'s share of the '
            "gradient shrink when every letter counts?",
            [(QUESTION, f"{QUESTION}\nquestion = {question}")],
        )
        for question in ('3 * "how did you like the film? "', '""', '"WHO? 谁"')
    ),
    (
        'Compare the left side with four letters, `counted["left only, as printed"][1]`, and both sides with two, '
        '`counted["both sides"][0]`. Which one wins?',
        [("after", SCORES, 'print(counted["left only, as printed"][1], counted["both sides"][0])')],
    ),
    (
        "Allow each row to see its own position too: in `curves`, use `lambda T: np.tril(np.ones((T, T), dtype=bool), 0)` "
        "instead of `masked_word_context_as_printed`. Why does hardly anything change?",
        [
            (
                MASKS,
                '(("left only, as printed", lambda T: np.tril(np.ones((T, T), dtype=bool), 0)), ("both sides", '
                "masked_word_context))",
            )
        ],
    ),
    *(
        (
            "Mask half of the letters, `share_hidden = 0.5`. Does the advantage of both sides grow or shrink?",
            [(SHARE, f"share_hidden = {share}")],
        )
        for share in ("0.5", "1.0")
    ),
]
REMARKS = []

# At full size: what the small sizes shorten, and a print where the section that the change is in prints nothing of interest.
FULL = {
    "Use ten times as much text (change `60` to `6` where the reviews are read). What is the best memory now?": [
        [(READ, "400 if FAST else 6"), ("after", BEST, 'print("its perplexity is", round(float(new[best]), 2))')]
    ],
    "Mask half of the letters, `share_hidden = 0.5`. Does the advantage of both sides grow or shrink?": [
        [(SHARE, "share_hidden = 0.5")]
    ],
}

VARIATIONS = [
    [('"quartz? jazzq!"', '"schöne Grüße"')],
    [("memory = range(4 if FAST else 9)", "memory = range(1, 2)")],
    [("memory = range(4 if FAST else 9)", "memory = range(6)")],
    [("B, T = (8, 24) if FAST else (32, 48)", "B, T = 1, 5")],
    [("for temperature in (0.0, 0.5, 1.0, 2.0)", "for temperature in (100.0,)")],
    [(QUESTION, 'question, reply = "a", "b"')],
    [("counted, neighbours = {}, (2, 4)", "counted, neighbours = {}, (1, 3, 6)")],
    [("T, MASK = 24, V", "T, MASK = 3, V")],
    [("for factor in (1, 4)", "for factor in (1, -2)")],
]
