"""Notebook 21: what "What to try" says, done literally, and one change more in every section."""

FITTED = "crf, loss = fitted(look=False)"
LONGEST = "best_spans(s, e, inside, longest=5)"

TRY = [
    (
        "Learn the transitions without the table, `fitted(look=False, constraints=False)`: does the CRF find the rules of B, "
        "M, E and S by itself?",
        [(FITTED, "crf, loss = fitted(look=False, constraints=False)")],
    ),
    (
        "Allow answers of one token only, `longest=1`. What is the answer now?",
        [(LONGEST, "best_spans(s, e, inside, longest=1)")],
    ),
]
REMARKS = []

VARIATIONS = [
    [('bio = ["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC"]', 'bio = ["B-PER", "B-PER", "O", "B-LOC", "O", "O"]')],
    [("(lines[:300], lines[-50:]) if FAST", "(lines[:20], lines[-5:]) if FAST")],
    [("learn[:200], look", "learn[:20], look")],
    [("lr=2.0", "lr=0.5")],
    [("train_wordpiece([file], 60)", "train_wordpiece([file], 40)")],
    [("longest=5)", "longest=100)")],
]
