"""Notebook 23: what "What to try" says, done literally, and one change more in every section."""

TRY = [
    (
        "Ask about something else, `{text} The weather is [MASK].` in place of `{text} A [MASK] film.` in `TEMPLATES`: does the "
        "accuracy fall?",
        [('"{text} A [MASK] film."', '"{text} The weather is [MASK]."')],
    ),
    (
        "Learn with `P, C = 16, config.width`: do four times as many vectors help?",
        [("P, C = 4, config", "P, C = 16, config")],
    ),
]

REMARKS: list[str] = []

VARIATIONS = [
    [
        (
            'WORDS = "A [MASK] film. {text}", ("terrible,bad,awful,worst", "great,good,wonderful,best")',
            'WORDS = "{text} [MASK]", ("bad", "good")',
        )
    ],
    [("calibrated = model_of(TEMPLATE, WORDS, pool)", "calibrated = model_of(TEMPLATE, WORDS, pool[:3])")],
    [("PAIRS = TEMPLATES[:2], PAIRS[:1]", "PAIRS = TEMPLATES[2:4], PAIRS[:1]")],
    [("P, C = 4, config.width", "P, C = 2, config.width")],
    [("FEW, SEEDS = 16", "FEW, SEEDS = 6")],
]
