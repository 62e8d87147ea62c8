"""Notebook 12: what "What to try" says, done literally, and one change more in every section."""

Z = "z, y = rng.normal(size=(3, 64, V)), labels[:3]"
BELOW_53 = 'claim("With the library\'s pairs it stays below 53 %.", rule(ends_well) < 0.53)'
OPTIONS = "    next_sentence_weight=1.0,\n"
HEADS = "all_count, ignored = head(y[:half] >= 0), head(y[:half] != 0)"
BEFORE_THAT = 'positions="learned"'
LOST = 'print({what: round(loss, 2) for what, loss in lost.items()}, "nats; unigram floor:", round(unigram, 2))'
REACH = "reach = (-2, -1, 1, 2)"
LAST_GAP = '    "在１月[MASK]日的会议上": "８",\n'

TRY = [
    (
        'In `two_draws`, let "kept" win over "random" where both say yes, `chosen & is_random & ~is_kept`: which share is now '
        "too small?",
        [("np.where(chosen & is_random, random_words", "np.where(chosen & is_random & ~is_kept, random_words")],
    ),
    *(
        (
            "Count at BERT's 15 %, `rate = 0.15`: do you still see the difference, and how many tokens would it take to see it "
            "as clearly?",
            [("rate = 0.9  #", f"rate = {rate}  #")],
        )
        for rate in (0.15, 0.001)
    ),
    (
        "Hide every second token, `y = np.where(np.arange(64) % 2, w[:3], -100)` below the line of `z, y`: why does the loss of "
        "a model that has learnt nothing hardly change?",
        [(Z, f"{Z}\ny = np.where(np.arange(64) % 2, w[:3], -100)")],
    ),
    (
        "Test another rule that reads no words: is B shorter than A, "
        "`rule(pairs.b_end - pairs.b_start < pairs.a_end - pairs.a_start)`?",
        [("after", BELOW_53, "rule(pairs.b_end - pairs.b_start < pairs.a_end - pairs.a_start)")],
    ),
    (
        "Test one that reads a single character: does A hold a question mark, "
        '`rule(np.array(["？" in tokenizer.text(ids[i:j]) for i, j in zip(pairs.a_start, pairs.a_end)]))`?',
        [
            (
                "after",
                BELOW_53,
                'rule(np.array(["？" in tokenizer.text(ids[i:j]) for i, j in zip(pairs.a_start, pairs.a_end)]))',
            )
        ],
    ),
    (
        "Set `next_sentence_weight=0` in the options: does the loss of the masked words become lower when the model has nothing "
        "else to learn? (It then reads whole rows of text, but is measured on pairs as before.)",
        [(OPTIONS, "    next_sentence_weight=0,\n")],
    ),
    (
        'Add `init="fan-in"` to the options: how long does the loss then stay at the unigram floor?',
        [(OPTIONS, f'{OPTIONS}    init="fan-in",\n')],
    ),
    (
        "Give the table only two layers, `layers=2`: is it better or worse than with three?",
        [(BEFORE_THAT, f"{BEFORE_THAT}, layers=2")],
    ),
    (
        'Use rotary positions instead of the table, `positions="rotary"`: which of the two is nearer to the bias?',
        [(BEFORE_THAT, BEFORE_THAT.replace("learned", "rotary"))],
    ),
    (
        "Take the peaks alone from the trained model, `without([1, 17, 2, 18])`: is that all of it?",
        [("after", LOST, "without([1, 17, 2, 18])")],
    ),
    (
        "Put `learning_rate=6e-3`, three times our value, into the options above: how much better do the masked words get, and what "
        "happens to next sentence?",
        [("    learning_rate=2e-3,", "    learning_rate=6e-3,")],
    ),
    *(
        (
            "Give `head` only fifty pairs to learn from, `all_count = head(np.arange(half) < 50)` below its line: how many "
            "answers are right now?",
            [(HEADS, f"{HEADS}\nall_count = head(np.arange(half) < {count})")],
        )
        for count in (50, 1)
    ),
    (
        'Hide two characters in a row, with the line `"新华社[MASK][MASK]１月６日电": "北京",` in `gaps`: why is this more than '
        "twice as hard?",
        [(LAST_GAP, LAST_GAP + '    "新华社[MASK][MASK]１月６日电": "北京",\n')],
    ),
    *(
        (
            'Hide the last character of a phrase, `"新华社北京１月６日[MASK]": "电",`: what does the model know without a right '
            "side, as F25 is printed (notebook 11)?",
            [(LAST_GAP, LAST_GAP + f'    "{text}": "电",\n')],
        )
        for text in ("新华社北京１月６日[MASK]", "[MASK]", "没有")
    ),
    (
        "Let the straight line see four characters on each side, `reach = (-4, -3, -2, -1, 1, 2, 3, 4)`: do the new names gain?",
        [(REACH, "reach = (-4, -3, -2, -1, 1, 2, 3, 4)")],
    ),
    *(
        (
            "Let it look back only, `reach = (-2, -1)`: which side says more about a name?",
            [(REACH, f"reach = {reach}")],
        )
        for reach in ("(-2, -1)", "()")
    ),
    (
        "Give both more labels, `[: 300 if FAST else 4000]`: which of the two gains more, the dictionary or the line?",
        [("[: 300 if FAST else 1400]", "[: 600 if FAST else 4000]")],
    ),
]
REMARKS = []

# At full size one change for each sentence, without those that only look for exceptions.
FULL = {
    "Give `head` only fifty pairs to learn from, `all_count = head(np.arange(half) < 50)` below its line: how many answers are "
    "right now?": [[(HEADS, f"{HEADS}\nall_count = head(np.arange(half) < 50)")]],
    'Hide the last character of a phrase, `"新华社北京１月６日[MASK]": "电",`: what does the model know without a right side, as '
    "F25 is printed (notebook 11)?": [[(LAST_GAP, LAST_GAP + '    "新华社北京１月６日[MASK]": "电",\n')]],
    "Let it look back only, `reach = (-2, -1)`: which side says more about a name?": [
        [(REACH, "reach = (-2, -1)")],
        [(REACH, "reach = (1, 2)")],
    ],
    "Give both more labels, `[: 300 if FAST else 4000]`: which of the two gains more, the dictionary or the line?": [
        [("[: 300 if FAST else 1400]", "[: 300 if FAST else 4000]")]
    ],
}

VARIATIONS = [
    [("chosen & (u < 0.8)", "chosen & (u < 0.5)")],
    [("L = -log_softmax(z[b, t])", "z[:] = 0\nL = -log_softmax(z[b, t])")],
    [("options.length - 3, np.random.default_rng(0)", "20, np.random.default_rng(5)")],
    [("def pretrain(model, options, evaluations=6):", "def pretrain(model, options, evaluations=3):")],
    [("distance = np.arange(-24, 25)", "distance = np.arange(-3, 4)")],
    [("def neighbour(line, t, d):", "def neighbour(line, t, d):\n    return ''\n\n\ndef not_used(line, t, d):")],
    [('for scheme in ("fan-in", "neighbours")}', 'for scheme in ("neighbours", "fan-in")}')],
    [('"改革开[MASK]的伟大实践": "放"', '"I like [MASK].": "it"')],
]
