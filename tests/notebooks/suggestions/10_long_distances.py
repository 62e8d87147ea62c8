"""Notebook 10: what "What to try" says, done literally, and one change more in every section."""

WIDTH = "d, lengths = 128, 2 ** np.arange(4, 13)"
RATIOS = 'claim("At T = 2d the costs are equal.", ratios[1] == 1)'
STACK = 'TransformerStack(layers, C, heads=2, feed_forward=2 * C, norm="pre")'
SIZES = "C, layers, open_bias = 32, 1, 4"
LAST = "last = layer(kind).double()(x)[0][:, -1]"
KINDS = 'KINDS = {"RNN": COLOURS[1], "LSTM": COLOURS[4], "LSTM, open": COLOURS[2], "Transformer": COLOURS[0]}'
FAR = "FAR = (10, 20, 40, 80)"
CELL = 'recurrent = Recurrent({"RNN": "rnn", "GRU": "gru"}.get(kind, "lstm"), C, C, layers)'
MENDED = 'print(f"trained with the symbol at random places: {found:.0%} right")'

TRY = [
    *(
        (
            "BERT has $d = 768$ and reads at most 512 tokens: draw the picture for that width. On which side of the crossing "
            "point is BERT?",
            [(WIDTH, WIDTH.replace("128", d))],
        )
        for d in ("768", "2")
    ),
    (
        "What does a text of 100,000 tokens cost at that width, `attention_cost(100_000, 768)` and "
        "`recurrence_cost(100_000, 768)`?",
        [("after", RATIOS, "print(attention_cost(100_000, 768), recurrence_cost(100_000, 768))")],
    ),
    ('Set `norm="post"` for the Transformer.', [(STACK, STACK.replace("pre", "post"))]),
    *(("Use two layers, `layers = 2`.", [(SIZES, f"C, layers, open_bias = 32, {layers}, 4")]) for layers in (2, 3)),
    (
        "Compute the loss from the mean of all outputs instead of the last one, `[0].mean(dim=1)` instead of `[0][:, -1]` in "
        "`share`. How does the picture change, and why do text classifiers do exactly this?",
        [(LAST, "last = layer(kind).double()(x)[0].mean(dim=1)")],
    ),
    (
        'Set `open_bias` to 6 and look at distance 80, `accuracy(learn("LSTM, open", [80], 0), 80)`.',
        [
            (SIZES, "C, layers, open_bias = 32, 1, 6"),
            ("after", FAR, 'accuracy(learn("LSTM, open", [80], 0, steps=5), 80)'),
        ],
    ),
    (
        'Try a GRU: add `KINDS["GRU"] = COLOURS[3]` below the line of `KINDS`.',
        [(KINDS, KINDS + '\nKINDS["GRU"] = COLOURS[3]\nKINDS["another LSTM"] = COLOURS[5]')],
    ),
    (
        'Try a GRU: add `KINDS["GRU"] = COLOURS[3]` below the line of `KINDS`.',
        [(CELL, 'recurrent = Recurrent("gru", C, C)')],
    ),
    (
        "Draw the noise from the symbols themselves, `torch.randint(0, 8, …)` in `examples`, so that only its place tells "
        "which token counts. Which model suffers?",
        [
            (
                "words = torch.randint(8, 16, (n, d + 2), generator=g)",
                "words = torch.randint(0, 8, (n, d + 2), generator=g)",
            )
        ],
    ),
    (
        "Take one example with the symbol somewhere else, "
        "`words, _ = examples(1, 20, torch.Generator().manual_seed(3), anywhere=True)`, print its `words`, and draw the "
        'weights by `picture, axis = panels()` and `draw(axis, looks(mended), "One example")`.',
        [
            (
                "after",
                MENDED,
                "words, _ = examples(1, 20, torch.Generator().manual_seed(3), anywhere=True)\nprint(words)\n"
                'picture, axis = panels()\ndraw(axis, looks(mended), "One example")\npicture',
            )
        ],
    ),
    (
        "Move the symbol for an LSTM of the section above, `accuracy(models[0], 20, anywhere=True)`. Has it learned a place, "
        "too?",
        [("after", MENDED, "accuracy(models[0], 20, anywhere=True)")],
    ),
    (
        "Test the model that was trained at distance 20 at distance 40, `accuracy(model, 40)`. What does the Transformer know "
        "about place 30?",
        [("after", MENDED, "accuracy(model, 40)")],
    ),
]
REMARKS = []

# At full size: what the small sizes shorten, and a print where the section that the change is in prints nothing of interest.
FULL = {
    'Set `open_bias` to 6 and look at distance 80, `accuracy(learn("LSTM, open", [80], 0), 80)`.': [
        [
            (SIZES, "C, layers, open_bias = 32, 1, 6"),
            ("after", FAR, 'print("distance 80:", accuracy(learn("LSTM, open", [80], 0), 80))'),
        ]
    ],
    'Try a GRU: add `KINDS["GRU"] = COLOURS[3]` below the line of `KINDS`.': [
        [
            (KINDS, KINDS + '\nKINDS["GRU"] = COLOURS[3]'),
            ("after", FAR, 'print([d for kind, d in results if kind == "GRU"])'),
        ]
    ],
}

VARIATIONS = [
    [("T, d = 30, 12", "T, d = 3, 20")],
    [(WIDTH, "d, lengths = 1, 2 ** np.arange(0, 3)")],
    [("far = (1, 5, 10, 20, 40, 80)", "far = (0, 200)")],
    [(SIZES, "C, layers, open_bias = 4, 1, -4")],
    [("DISTANCES, SEEDS = ((5, 10) if FAST", "DISTANCES, SEEDS = ((1, 3, 100) if FAST")],
    [(FAR, "FAR = (1,)")],
    [
        (
            "words, answers = examples(200, 20, torch.Generator().manual_seed(7))",
            "words, answers = examples(1, 70, None)",
        )
    ],
    [
        (
            'learn("Transformer", [20], 0, steps=0), learn("Transformer", [20], 0)',
            'learn("Transformer", [5], 0, steps=1), learn("Transformer", [9, 2], 3)',
        )
    ],
]
