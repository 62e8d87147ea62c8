"""Notebook 24: what "What to try" says, done literally, and one change more in every section."""

CURVES = "deletion_curves(model, tokenizer, chosen, each, answers, 5)"
PLOT = "axis.plot(range(6), curve.mean"
PRINT = 'print("the answer:", TASK.labels[k])'
NEGATED = '"templates with “not”": negated,'

TRY = [
    (
        "Delete ten words instead of five: change both `5)` and `range(6)`.",
        [
            (CURVES, CURVES.replace("5)", "10)")),
            (PLOT, PLOT.replace("6", "11")),
            ("xticks=range(6)", "xticks=range(11)"),
        ],
    ),
    (
        "Ask for the other class: set `k = 1 - k` behind the line that prints the answer; what becomes of the attention row?",
        [(PRINT, f"{PRINT}\nk = 1 - k")],
    ),
    (
        "Negate with another word: replace `negated` in `changes` by "
        '`[e._replace(text=e.text.replace(" not ", " never ")) for e in negated]`.',
        [
            (
                NEGATED,
                '"templates with “not”": [e._replace(text=e.text.replace(" not ", " never ")) for e in negated],',
            )
        ],
    ),
]
REMARKS: list[str] = []

# At full size a print where the section shows only a picture: with the answer's class, and with the other one.
ROWS = "explanations(text.words, found, title=TASK.labels[k])"
LOOK = """
print("class:", TASK.labels[k])
for name, scores in found.items():
    print(f"{name:16}", "  ".join(f"{text.words[i]} {scores[i]:+.2f}" for i in (1, 3, 4, 12)))
"""
FULL = {
    "Ask for the other class: set `k = 1 - k` behind the line that prints the answer; what becomes of the attention row?": [
        [("after", ROWS, LOOK)],
        [(PRINT, f"{PRINT}\nk = 1 - k"), ("after", ROWS, LOOK)],
    ],
}

VARIATIONS = [
    [("swaps(unseen + [e.text for e in test])", "swaps(unseen)")],
    [("x = rng.normal(size=(5, C))", "x = 100 * rng.normal(size=(3, C))")],
    [("layers=2, heads=4", "layers=1, heads=2"), ("pruned = [(0, 1), (1, 0), (1, 3)]", "pruned = [(0, 1)]")],
    [('sentence = "a warm and funny film', 'sentence = "a dull and lifeless film')],
    [("if 8 <= len(t.words) <= 40", "if 5 <= len(t.words) <= 12")],
    [("block.attention.to_qkv.weight[:C] = 0", "block.attention.to_qkv.weight[:C] *= 0.5")],
    [("with_typos(e.text, 1 / 3, rng)", "with_typos(e.text, 1.0, rng)")],
    [("for share in (0.5, 0.7, 0.9, 0.97)", "for share in (0.2, 0.8)")],
]
