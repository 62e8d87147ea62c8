"""Notebook 18: what "What to try" says, done literally, and one change more in every section."""

HISTORY = "seed=0, history=8)\nfirst"
COUNTED = 'print("counted:", " ".join(tokenizer.tokens(labels[labels != -100])))'
LONGEST = "longest = 128"
TABLE = 'print(f"counting pairs of words (Kneser–Ney): {bigram:.2f} nats")'
NAMES = 'names = "anna ben carla david emma finn greta henry".split()\n'
COST = 'print(f"the name after {turns_of[history]} of history: {loss:.2f} nats; guessing costs {guessing:.2f}")'
TEMPERATURES = "for temperature in (0.0, 0.7, 1.0):"
WRITE = "prompts, 24, temperature, seed=0"
SAID = 'print("message:", tokenizer.text(held_out.turn(i, t - 1, False))[-90:])'

TRY = [
    (
        "Let the history begin with at most one turn, `history=1` in `windows`. How does the share that counts change?",
        [(HISTORY, HISTORY.replace("8", "1"))],
    ),
    (
        "Ask what the loss would count if the roles were exchanged: `answer_labels(ids, roles.model, roles.user)`.",
        [
            (
                "after",
                COUNTED,
                "counted = answer_labels(ids, roles.model, roles.user)\n"
                'print("counted:", " ".join(tokenizer.tokens(counted[counted != -100])))',
            )
        ],
    ),
    (
        "Pad to 512 tokens as D2 does, and print the loss of the same model on the first rows: `PaddingCounts.longest = 512`, "
        'then `print(PaddingCounts().loss(models["padding counts"], test[0]).value)`.',
        [
            (
                "after",
                TABLE,
                "PaddingCounts.longest = 512\nwith torch.no_grad():\n"
                '    print(float(PaddingCounts().loss(models["padding counts"], test[0]).value))',
            )
        ],
    ),
    (
        'Let the model that shifts twice answer: `print(tokenizer.text(generate(models["shifted twice"], [row[:17]], 12, '
        "0)[0].ids))`.",
        [
            (
                "after",
                TABLE,
                'print(tokenizer.text(generate(models["shifted twice"], [row[:17]], 12, 0)[0].ids))\n'
                'print(tokenizer.text(generate(models["right"], [row[:17]], 12, 0)[0].ids))',
            )
        ],
    ),
    (
        'Give the world sixteen names instead of eight: write `names = names + [name + "a" for name in names]` below the line '
        "of the names. What does guessing cost now?",
        [(NAMES, NAMES + 'names = names + [name + "a" for name in names]\n')],
    ),
    (
        "Let the model that has learned with the whole history read only the last message: `loss_at_the_name(learned[8], 1)`.",
        [("after", COST, "print(loss_at_the_name(learned[8], 1))")],
    ),
    (
        'Keep only the 20 likeliest tokens at temperature 1: write `generate(models["right"], prompts, 24, temperature, 20, '
        "seed=0, …)`. Does it become more or less varied?",
        [(WRITE, "prompts, 24, temperature, 20, seed=0")],
    ),
    (
        'Measure distinct-2 on the first 20 answers alone, `distinct_n(said_by["people"][:20], 2)`. Why is it higher than on '
        "all of them?",
        [("after", SAID, 'print(distinct_n(said_by["people"][:20], 2))')],
    ),
]
REMARKS = []
VARIATIONS = [
    [(TEMPERATURES, "for temperature in (2.0,):")],
    [(HISTORY, HISTORY.replace("8", "0"))],
    [(LONGEST, "longest = 65")],
    [("for room in (40, 14, 8):", "for room in (0, 1, 2):")],
    [('said = ["hi!", "hello, how are you?", "fine", "do you like tea?"]', 'said = ["a", "谁？"]')],
]
