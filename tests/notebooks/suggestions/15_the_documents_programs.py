"""Notebook 15: what "What to try" says, done literally, and one change more in every section."""

OUR_STEP = "    optimizer.step(learning_rate)"
OUR_ADAMW = 'AdamW([{"params": [ours], "weight_decay": decay}])'
DECAY = "learning_rate, decay, b1, b2, eps = 0.01, 0.1, 0.9, 0.999, 1e-8"
MASK = "attention_mask = padded != PAD"
LABELS = '    (labels,) = subword_labels([["OBI".index(tag) for tag in tags]], [word_ids])'
ROW = (
    '    Fact("D4 §1.1.1", "Transformer: Vaswani et al., 2017", "this is correct", "NIPS 2017", 2017, "1706.03762"),\n'
)

TRY = [
    (
        "Let PyTorch's own take the twenty steps: `torch.optim.AdamW([ours], lr=0.01, weight_decay=decay)` in place of ours, "
        "and `optimizer.step()` in place of `optimizer.step(learning_rate)`.",
        [
            (OUR_ADAMW, "torch.optim.AdamW([ours], lr=0.01, weight_decay=decay)"),
            (OUR_STEP, "    optimizer.step()"),
        ],
    ),
    (
        "Then leave `weight_decay=decay` out: how far from `theta` does the default lead?",
        [(OUR_ADAMW, "torch.optim.AdamW([ours], lr=0.01)"), (OUR_STEP, "    optimizer.step()")],
    ),
    *(
        (
            "Set `decay` to 0: which optimizer of notebook 01 is it now?",
            [(DECAY, DECAY.replace("0.1,", f"{decay},"))],
        )
        for decay in (0, 10)
    ),
    *(
        (
            "Set `size` to 1, to 3 and to 5: for which batch sizes are the two means equal?",
            [("size = 2\n", f"size = {size}\n")],
        )
        for size in (1, 3, 5, 9)
    ),
    *(
        (
            "Set `shifts` to 3 and to 20: is the loss even higher, and why does it stop rising?",
            [("shifts = 2  #", f"shifts = {shifts}  #")],
        )
        for shifts in (3, 20, 1)
    ),
    (
        "Let the first one of each row count as the end, `attention_mask = np.cumsum(padded == PAD, axis=1) < 2`: what does a "
        "model never learn with the mask above?",
        [(MASK, "attention_mask = np.cumsum(padded == PAD, axis=1) < 2")],
    ),
    (
        'Give the table an answer that does not fit the question, `answer = "it leaves at half past nine"`: why does the table '
        "not notice, and which model would?",
        [('answer = "yes it was a very good film"', 'answer = "it leaves at half past nine"')],
    ),
    (
        "Below the line of `(labels,)`, give the tag to *every* piece of its word, "
        '`labels = [-100 if word is None else "OBI".index(tags[word]) for word in word_ids]`: how many more labels are there '
        "to learn from, and what would be wrong with two pieces that both say B?",
        [(LABELS, LABELS + '\n    labels = [-100 if word is None else "OBI".index(tags[word]) for word in word_ids]')],
    ),
    (
        "In a new cell, `share[of_all - of_tokens < 0.01].min()`: from which share of found names on do the two curves of the "
        "picture differ by less than 0.01?",
        [("after", "tokens % 128 != 0", "share[of_all - of_tokens < 0.01].min()")],
    ),
    *(
        (
            "Use batches of 128 instead of 16, `limit, batch_size = 128, 128`: which of the bars grow?",
            [("limit, batch_size = 128, 16", f"limit, batch_size = {limit}, {size}")],
        )
        for limit, size in ((128, 128), (64, 1), (128, 100_000))
    ),
    *(
        (
            "Set `classes` to 2: where is the floor now, does a classifier with two softmaxes still learn, and which number "
            "would make you suspicious?",
            [("classes = 1000  #", f"classes = {classes}  #")],
        )
        for classes in (2, 50_000)
    ),
    (
        'Date BERT as late as the conference, `2019, "1810.04805"`: does the check notice?',
        [('2018, "1810.04805"', '2019, "1810.04805"')],
    ),
    (
        "Look up one more fact and add it below the last row, such as "
        '`Fact("D4 §2.1.3", "Adam", "Kingma and Ba", "ICLR 2015", 2014, "1412.6980"),`.',
        [(ROW, ROW + '    Fact("D4 §2.1.3", "Adam", "Kingma and Ba", "ICLR 2015", 2014, "1412.6980"),\n')],
    ),
]
REMARKS = ["In GPT-2's vocabulary the end of a text and padding are one and the same token."]

VARIATIONS = [
    [("optimizer = AdamW([], lr=2e-5)\nfrom some_library import AdamW", "from json import dumps as AdamW\nAdamW([])")],
    [("for labels in ([0, 1], [1, 0], [1]):", "for labels in ([0, 1],):")],
    [("x_all = 2.0 *", "x_all = 20.0 *")],
    [("150 if FAST else 1000))", "3))")],
    [("PAD, length = V, 512", "PAD, length = V, 40")],
    [('("B-PER", 0.923, 0.915, 0.920)', '("B-PER", 0.923, 0.915, 0.919)')],
    [
        (
            'words = "To top it all off , Danny Pino playing Desi Arnaz is horrible .".split()',
            'words = "Danny drew zyzzyvas".split()',
        )
    ],
    [("3_684  # 3,684 sentences, as its authors say", "320")],
    [("T, S, D = 5, 12, 8", "T, S, D = 1, 3, 2")],
    [("V, E, H = 1000, 64, 128", "V, E, H = 50, 3, 2")],
    [('"part of speech", "chunk", "entity"}\n', '"part of speech", "chunk"}\n')],
    [('try:\n    labelled("peoples-daily")', 'try:\n    labelled("rotten-tomatoes")')],
    [('2015, "1512.05287"', '2015, ""')],
]
