"""Notebook 29: what "What to try" says, done literally, and one change more in every section."""

SHARES = 'claim("In BERT-base, about a fifth."'
NEEDED = "done_needed, out_needed = counted"

TRY = [
    (
        "At which length does attention itself reach the rest of a block? Print "
        "`[n for n in (128, 256, 512, 768, 1024) if 2 * n**2 * C >= 12 * n * C**2]`.",
        [("after", SHARES, "print([n for n in (128, 256, 512, 768, 1024) if 2 * n**2 * C >= 12 * n * C**2])")],
    ),
    (
        "How far off is the rule of thumb here? Print "
        "`round(6 * parameter_count(model) * B * T / (2 * 3 * done), 2)`, the rule divided by the count.",
        [("after", SHARES, "print(round(6 * parameter_count(model) * B * T / (2 * 3 * done), 2))")],
    ),
    (
        "Leave the last block whole: print "
        "`round((done_needed + B * (T - m - 1) * (10 * C**2 + 2 * T * C)) / done, 2)`. "
        "Which of the two savings is the larger one?",
        [("after", NEEDED, "print(round((done_needed + B * (T - m - 1) * (10 * C**2 + 2 * T * C)) / done, 2))")],
    ),
    (
        "Forget that the maximum changes: set `weights, correction = (scores - larger).exp(), (largest - larger).exp()` to "
        "`weights, correction = (scores - larger).exp(), 1.0`. Does `agree` notice?",
        [
            (
                "weights, correction = (scores - larger).exp(), (largest - larger).exp()",
                "weights, correction = (scores - larger).exp(), 1.0",
            )
        ],
    ),
    (
        "Take larger pieces of the logits: set `size=25` to `size=90`. Does the loss change?",
        [("size=25)", "size=90)")],
    ),
]
REMARKS = []
FULL = {}

# Every third one runs in the suite, so the long ones stand between.
VARIATIONS = [
    [("B, T, C, L, V = 4, 128, 128, 3, 8192", "B, T, C, L, V = 3, 64, 64, 2, 500")],
    [("(768, 12, 30522)}", "(1024, 24, 30522)}")],
    [("m = round(0.15 * T)", "m = round(0.4 * T)")],
    [("H, D, S = 2, 16, 96", "H, D, S = 3, 8, 50")],
    [("rows, words, wide = 90, 500, 24", "rows, words, wide = 70, 300, 16")],
    [("time[work == 0].sum() / time.sum()", "time[work == 0].max() / time.sum()")],
    [('"AdamW": 1 / 7', '"AdamW": 1 / 8')],
]
