"""Notebook 26: what "What to try" says, done literally, and one change more in every section."""

WITHOUT = "without = {distance: loss_without(two, distance) for distance in (1, 4)}"
CURVES = "curves = {arm: pretrained(arm, steps) for arm, steps in lengths.items()}"

TRY = [
    (
        "Forbid the second place before, too: print `loss_without(two, 2)`.",
        [("after", WITHOUT, 'print(f"{loss_without(two, 2):.2f} nats")')],
    ),
    (
        "Do the same to the model with one layer: print `loss_without(one, 1)`. Does it lose anything?",
        [("after", WITHOUT, "print(f\"{loss_without(one, 1):.2f} nats, whole {one_curve[-1]['loss']:.2f}\")")],
    ),
    (
        "What does the best head attend to in the first half of the training? Print "
        "`[round(p[plateau.NEXT], 2) for p in curves[plateau.ZERO]]`. Does it change in one jump?",
        [("after", CURVES, "print([round(p[plateau.NEXT], 2) for p in curves[plateau.ZERO]])")],
    ),
]
REMARKS = []
FULL = {}

# Every third one runs in the suite, so the long ones stand between.
VARIATIONS = [
    [("symbols, T, shortest, longest = 32, 32, 4, 16", "symbols, T, shortest, longest = 20, 26, 5, 9")],
    [("(t >= 1).float()", "(t >= 2).float()")],
    [("heads=4, feed_forward=256", "heads=2, feed_forward=64")],
    [("for distance in (1, 4)}", "for distance in (1, 2, 4)}")],
    [("plateau.FORBIDDEN: 12 if FAST else 400}", "plateau.ELSEWHERE: 12 if FAST else 400}")],
]
