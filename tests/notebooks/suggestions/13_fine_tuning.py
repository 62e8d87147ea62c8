"""Notebook 13: what "What to try" says, done literally, and one change more in every section."""

SIZES = "n, held_out = (50, 100) if FAST else (200, 200)"
RUNS = 'runs = {"nothing": (0.0, 0.0), '
FIT = "recipe = Recipe(epochs=EPOCHS, learning_rate=1.5e-3, weight_decay=decay)"
STUCK = "stuck, learnt = np.array(losses).T"
BLOCKS = "C, layers=1, heads=4"

TRY = [
    *(
        (
            "Set `layers=2` in `new_model`: does a second block help?",
            [(BLOCKS, f"C, layers={layers}, heads=4")],
        )
        for layers in (2, 4)
    ),
    (
        'Put the head on an encoder that knows nothing at all, `nothing = new_model("from scratch")` and '
        "`W, b = train_head(encoded(nothing, few), y_few)` in a new cell: why is "
        "`((encoded(nothing, test) @ W + b).argmax(axis=1) == y_test).mean()` not 0.5?",
        [
            (
                "after",
                STUCK,
                'nothing = new_model("from scratch")\nW, b = train_head(encoded(nothing, few), y_few)\n'
                "((encoded(nothing, test) @ W + b).argmax(axis=1) == y_test).mean()",
            )
        ],
    ),
    *(
        (
            'Combine dropout 0.2 with early stopping: add `"dropout 0.2": (0.2, 0.0)` to `runs`, and `patience=3` to the '
            "`Recipe` in `watched_fit`.",
            [
                (RUNS, RUNS + '"dropout 0.2": (0.2, 0.0), '),
                (FIT, FIT.replace("=decay)", f"=decay, patience={patience})")),
                *([("EPOCHS = 3 if FAST else 11", "EPOCHS = 8")] if patience == 1 else []),  # so that it does stop
            ],
        )
        for patience in (3, 1)
    ),
    (
        "Learn from 500 sentences instead of 200, `n, held_out = 500, 200`: how much of the overfitting is left?",
        [(SIZES, "n, held_out = 150, 30")],  # of the two hundred that there are at small sizes
    ),
]
# At full size: what the small sizes shorten, and a print where the section that the change is in prints nothing of interest.
FULL = {
    "Set `layers=2` in `new_model`: does a second block help?": [
        [
            (BLOCKS, "C, layers=2, heads=4"),
            ("after", STUCK, 'print("whole model:", scores[WAYS[1]].mean(axis=0).round(3))'),
        ]
    ],
    'Combine dropout 0.2 with early stopping: add `"dropout 0.2": (0.2, 0.0)` to `runs`, and `patience=3` to the `Recipe` in '
    "`watched_fit`.": [
        [(RUNS, RUNS + '"dropout 0.2": (0.2, 0.0), '), (FIT, FIT.replace("=decay)", "=decay, patience=3)"))]
    ],
    "Learn from 500 sentences instead of 200, `n, held_out = 500, 200`: how much of the overfitting is left?": [
        [(SIZES, "n, held_out = 500, 200")]
    ],
}
REMARKS = ["(It holds out a tenth of the examples by itself.)"]

VARIATIONS = [
    [("tokenizer.size, C, seed=0)", "tokenizer.size, C, seed=7)")],
    [("mean_of_tokens(hidden, batch.attention_mask)", "hidden[:, 0]")],
    [("learning_rate=2.0, steps=1500", "learning_rate=0.1, steps=3")],
    [("counts = [50] if FAST else [50, 300, 1200]", "counts = [7, 60]")],
    [("rates = [1e-4, 2e-3, 1e-1]", "rates = [1e-2, 1e-3]")],
    [('"dropout 0.5": (0.5, 0.0), "weight decay 10": (0.0, 10.0)', '"dropout 0.9": (0.9, 1.0)')],
]
