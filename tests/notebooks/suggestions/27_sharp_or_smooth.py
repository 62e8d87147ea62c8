"""Notebook 27: what "What to try" says, done literally, and one change more in every section."""

TRY = [
    (
        "Let the errors vanish in another way: set `p = np.exp(-30 / at)`. Is a page still more sudden than an answer?",
        [("p = 0.1 + 0.9 * np.log10(at) / 4", "p = np.exp(-30 / at)")],
    ),
    (
        "Was nothing to be seen before the jump? Print `[round(float(x), 2) for x in nats[:, 3] if 0.2 < x < 2.2]`: "
        "the loss of the ones on its way.",
        [("after", 'NAMES = "thousands"', "print([round(float(x), 2) for x in nats[:, 3] if 0.2 < x < 2.2])")],
    ),
    (
        "When was each skill learned, from the most frequent to the rarest? Print "
        "`[int(step) for step in late if step < np.inf]`.",
        [("after", "part = 0.005", "print([int(step) for step in late if step < np.inf])")],
    ),
    (
        "Give it only half of all sums: print `learned(1.0, share=0.5)[-1].round(2)`. "
        "Does it still understand within these steps?",
        [("after", "with_decay, without = ", "print(learned(1.0, share=0.5)[-1].round(2))")],
    ),
    (
        "Trust fewer runs: print `round(said(law_given(given.entropy, runs[:6])), 3)`, the prediction from the six runs "
        "with the fewest tokens.",
        [("after", "tenth = scaling.trained", "print(round(said(law_given(given.entropy, runs[:6])), 3))")],
    ),
]
REMARKS = []
FULL = {}

# Every third one runs in the suite, so the long ones stand between.
VARIATIONS = [
    [("p = 0.1 + 0.9", "p = 0.2 + 0.8")],
    [("mirage.new_model(32, seed)", "mirage.new_model(16, seed)")],
    [("axis=1) ** 4", "axis=1) ** 3")],
    [("part = 0.005 if FAST", "part = 0.01 if FAST")],
    [("learned(decay=0.0)", "learned(decay=3.0)")],
    [("(16, 6)) if FAST", "(8, 2)) if FAST")],
]
