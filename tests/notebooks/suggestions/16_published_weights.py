"""Notebook 16: what "What to try" says, done literally, and one change more in every section."""

PARTS = '("query", "key", "value")'
SOFTMAX = "weights = softmax(q @ k.swapaxes(1, 2) / np.sqrt(C // H), axis=-1)"
MAP = 'left = share["one to the left"]'
SENTENCE = 'sentence = "The animal did not cross the street because it was too tired."'
EFFECTS = '"it is about children and their parents", "lots of special effects"'
HATE = 'claim("Hatred of the same film is nearer than love in other words.", love @ hate > love @ joy)'
LABELS = "LEARN, TEST, EPOCHS = (4, 8, 1) if FAST else (500, 300, 2)"
REFUSED = 'claim("GPT-2 is refused.", isinstance(answer, ValueError))'
COMMAND = """
from minilm.cli import main
with tempfile.TemporaryDirectory() as place:
    lines = Path(place) / "lines.txt"
    lines.write_text("The trick shots are splendid.\\nIt rained all day.", encoding="utf-8")
    main(["similar", "lots of special effects", "--file", str(lines)])
"""

TRY = [
    *(
        (
            'Swap the words `"query"` and `"key"` in `attention` above: the shape of `weights` does not change, but what '
            "happens to the numbers?",
            [(PARTS, parts)],
        )
        for parts in ('("key", "query", "value")', '("query", "key", "query")')
    ),
    (
        "Leave out the root, `softmax(q @ k.swapaxes(1, 2), axis=-1)`.",
        [(SOFTMAX, "weights = softmax(q @ k.swapaxes(1, 2), axis=-1)")],
    ),
    ("Draw all 72 heads with `plots.attention_maps(tokens, A)`.", [("after", MAP, "plots.attention_maps(tokens, A)")]),
    (
        'Find the head in which *it* looks most at *animal*: `weights = np.stack(A)[..., tokens.index("it"), '
        'tokens.index("animal")]`, then `np.argwhere(weights == weights.max()) + 1`.',
        [
            (
                "after",
                MAP,
                'weights = np.stack(A)[..., tokens.index("it"), tokens.index("animal")]\n'
                "np.argwhere(weights == weights.max()) + 1",
            )
        ],
    ),
    *(
        (
            "Replace *tired* by *wide* in `sentence`: does *it* look at *street* now?",
            [(SENTENCE, f"sentence = {sentence!r}")],
        )
        for sentence in ("The animal did not cross the street because it was too wide.", "It rains.")
    ),
    (
        'Search your own text file: `minilm similar "lots of special effects" --file lines.txt`.',
        [("after", HATE, COMMAND)],
    ),
    *(
        (
            'In place of `"lots of special effects"`, ask for something in words that a good answer need not contain, '
            '`"a film to weep over"`, or for something with *not* in it, `"not for children"`.',
            [(EFFECTS, EFFECTS.replace("lots of special effects", query))],
        )
        for query in ("a film to weep over", "not for children")
    ),
    (
        "Take the vectors of the words before the first block, `states[0]` in place of `states[-1]` in the line of `u`: "
        "which sentences are nearest without any context?",
        [
            (
                "u = np.stack([states[-1].mean(axis=0) for states in all_states])",
                "u = np.stack([states[0].mean(axis=0) for states in all_states])",
            )
        ],
    ),
    (
        "Learn from 100 labels instead of 500, `LEARN, TEST, EPOCHS = 100, 300, 3`: how much is left of the lead?",
        [(LABELS, "LEARN, TEST, EPOCHS = 1, 3, 1")],  # fewer, because a test has no time for a hundred
    ),
    *(
        (
            'Open a folder of your own from the hub, `opened("path/to/it")`: is it a BERT, and if not, what does the '
            "sentence say?",
            [("after", REFUSED, f'opened("{folder}")')],
        )
        for folder in ("path/to/it", "all-minilm-l6-v2")
    ),
]
# At full size: what the small sizes shorten, and a print where the section that the change is in prints nothing of interest.
LOOKS = """
for word in ("animal", "street"):
    weights = np.stack(A)[..., tokens.index("it"), tokens.index(word)]
    layer, head = np.argwhere(weights == weights.max())[0] + 1
    print(f"it → {word}: at most {weights.max():.2f} (layer {layer}, head {head}), on average {weights.mean():.3f}")
"""
FULL = {
    "Replace *tired* by *wide* in `sentence`: does *it* look at *street* now?": [
        [("after", MAP, LOOKS)],
        [(SENTENCE, SENTENCE.replace("tired", "wide")), ("after", MAP, LOOKS)],
    ],
    "Learn from 100 labels instead of 500, `LEARN, TEST, EPOCHS = 100, 300, 3`: how much is left of the lead?": [
        [(LABELS, "LEARN, TEST, EPOCHS = 100, 300, 3")]
    ],
}
REMARKS = ["(Do not be disappointed. Notebook 05 says what a heat map does not show.)"]

VARIATIONS = [
    [("return x / 2 * (1 + erf(x / np.sqrt(2)))", "return np.maximum(x, 0)")],
    [("segments[0] = 0\n", "segments[0] = segments[1]\n")],
    [("[: 3 if FAST else 24]]", "[:1]]")],
    [('    "A kitten naps on the couch.",\n', '    "A kitten naps on the couch.",\n    "Snow fell.",\n')],
    [('    "Borrowing money became more expensive.",\n', "")],
    [('"A fine film.", " ".join(["word"] * 40)', '"A fine film of many words.", "word"')],
    [("for name in shown] + [after]", "for name in shown] + [1.0]")],
    [('{"model_type": "gpt2", "n_layer": 12}', '{"model_type": "bert"}')],
]
