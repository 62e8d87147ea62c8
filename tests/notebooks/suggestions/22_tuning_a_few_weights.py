"""Notebook 22: what "What to try" says, done literally, and one change more in every section."""

LOW_RANK = '("low-rank", 2e-2, {"rank": 8})'

TRY = [
    ("Ask for `RANK = 1`: which matrices keep something, and which lose everything?", [("RANK = 4", "RANK = 1")]),
    (
        'Give the low-rank way the learning rate of all weights, `"low-rank": ("low-rank", 2e-3, {"rank": 8})`: what does it '
        "lose?",
        [(LOW_RANK, LOW_RANK.replace("2e-2", "2e-3"))],
    ),
    (
        'Change all matrices and not only those of the attention, `{"rank": 8, "where": "everywhere"}`: is it still far from all '
        "weights?",
        [(LOW_RANK, LOW_RANK.replace("8}", '8, "where": "everywhere"}'))],
    ),
]

REMARKS: list[str] = []

VARIATIONS = [
    [("size, out, r, alpha = 5, 12, 9, 2, 4.0", "size, out, r, alpha = 4, 6, 7, 3, 1.0")],
    [("layers=2, heads=4", "layers=2, heads=2")],
    [("encoder.stack.layers.1.attention.to_qkv.weight", "encoder.stack.layers.0.feed_forward.inner.weight")],
    [("2e-2, rank=RANK", "1e-2, rank=RANK")],
    [("m = 3\n", "m = 11\n")],
    [('{"prompt_length": 4}', '{"prompt_length": 2}')],
]
