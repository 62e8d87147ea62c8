"""Notebook 19: what "What to try" says, done literally, and one change more in every section."""

HIDDEN = (
    "is_token = np.array([True, True, True, True, False, False])  # the source has four tokens, and two of padding\n"
)
SCORES = "Z = (X @ W_Q) @ (M @ W_K).T / np.sqrt(D)  # [T, S]\n"
STEPS = "steps = 12 if FAST else 420\n"
SOURCE = 'source = "Sunday, 3 May 1998"'
SHARPEST = "sharpest = heads[heads.max(axis=2).mean(axis=1).argmax()]"
GATE = "np.array([0.5])"
SAID = 'said = "打开文件"'
LEAD = "lead = rivals.first_sentence([], [article])[0]\n"

TRY = [
    ("Hide no token: `is_token = np.ones(S, dtype=bool)`.", [(HIDDEN, "is_token = np.ones(S, dtype=bool)\n")]),
    (
        "Make all keys alike, `W_K = 0 * W_K`, before `Z` is computed: what does every token of the target get?",
        [(SCORES, f"W_K = 0 * W_K\n{SCORES}")],
    ),
    (
        "Train for a tenth of the time, `steps = 42`: what does the model know first?",
        [(STEPS, "steps = 2 if FAST else 42\n")],
    ),
    (
        "Let every token keep a little probability while it is trained, `trained(smoothing=0.1)`: does it become better "
        "here?",
        [("model, written = trained()", "model, written = trained(smoothing=0.1)")],
    ),
    ('Put the weekday at the end, `source = "3 May 1998, Sunday"`.', [(SOURCE, 'source = "3 May 1998, Sunday"')]),
    (
        "Average over all heads instead, `sharpest = heads.mean(axis=0)`: is the picture as clear?",
        [(SHARPEST, "sharpest = heads.mean(axis=0)")],
    ),
    ("Shut the gate, `g = np.array([0.0])`.", [(GATE, "np.array([0.0])")]),
    ("Open it, `g = np.array([1.0])`: which words can still be written?", [(GATE, "np.array([1.0])")]),
    (
        'Take a better-sounding wrong answer, `said = "关闭窗口"`: is the nearest in characters the nearest in meaning?',
        [(SAID, 'said = "关闭窗口"')],
    ),
    (
        'Cut the dateline off, `lead = lead.split("电 ")[-1]`, below the line that makes it: how far does ROUGE-1 rise?',
        [(LEAD, f'{LEAD}lead = lead.split("电 ")[-1]\n')],
    ),
]
REMARKS: list[str] = []

VARIATIONS = [
    [("moved[~is_token] += 100", "moved[~is_token] += 1e6")],
    [
        (
            "made = [pair for pair in grammar.pairs(1200 if FAST else 9000, seed=0)",
            "made = [pair for pair in grammar.pairs(1000, seed=1)",
        )
    ],
    [("heads = np.concatenate(layers)", "heads = layers[-1]")],
    [("a, g = np.array([[0.1, 0.6, 0.0, 0.3]])", "a, g = np.array([[0.25, 0.25, 0.25, 0.25]])")],
    [("split_apart(pairs, 100, 100 if FAST else 500, seed=0)", "split_apart(pairs, 100, 100, seed=1)")],
    [('headline = "数千市民冒雪参加新年长跑"', 'headline = "北京新年长跑"')],
]
