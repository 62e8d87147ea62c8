"""Notebook 03: what "What to try" says, done literally, and one change more in every section."""

TEXT = '"Mr. Smith paid $3.50 for this. Was it worth it? No... not really! He gave it 2.5 out of 10."'
LEARN_FROM = "learn_from, held_out = reviews[: len(reviews) * 3 // 4], reviews[len(reviews) * 3 // 4 :]"
MAX = "max(pairs, key=lambda pair: (pairs[pair], pair))"
WINDOW = "window, alpha = 5, 0.75"
PROBES = 'probes = [word for word in ("terrible", "funny", "actor", "music", "three", "his") if word in number]'
SIZES = "K, N = 5, 500 if FAST else 5000"
DRAWN = "e, o = rng.normal(scale=0.1, size=(V, C)), rng.normal(scale=0.1, size=(V, C))"
GRADIENT = "    g = np.stack(formulas.skip_gram_loss_gradients(*theta, *batch))"
LAST = 'claim("The scores and the counts have a correlation above 0.75.", correlation > 0.75)'

TRY = [
    *(
        (
            "Put other sentences into `text` until you find one that is cut wrongly. (There are some. This is why rules are "
            "tested on real text.)",
            [(TEXT, repr(text))],
        )
        for text in ("She lives on Oak St. Anna knows her.", "no mark at all", "")
    ),
    *(
        (
            "Train on ten reviews instead of three hundred, `learn_from = reviews[:10]`: which pieces stay?",
            [(LEARN_FROM, f"{LEARN_FROM}\nlearn_from = reviews[:{count}]")],
        )
        for count in (10, 1)
    ),
    (
        "Join the pair with the largest $n_{ab} / (n_a n_b)$, as in the paper: in `max`, divide `pairs[pair]` by "
        "`(single[pair[0]] * single[pair[1]])`.",
        [(MAX, "max(pairs, key=lambda pair: (pairs[pair] / (single[pair[0]] * single[pair[1]]), pair))")],
    ),
    *(
        (
            "Use `window = 1` instead of 5: *his* keeps its neighbours, *music* gets other ones. Why?",
            [(WINDOW, f"window, alpha = {window}, 0.75")],
        )
        for window in (1, 20)
    ),
    (
        "Leave out the smoothing, `alpha = 1`, and add rare words, such as `names[-1]`, to `probes`: which neighbours do "
        "they get?",
        [(WINDOW, "window, alpha = 5, 1"), (PROBES, PROBES + "\nprobes += [names[-1], names[-20]]")],
    ),
    *(
        (
            "Use $K = 1$ and $K = 20$: by how much do all scores move, and why?",
            [(SIZES, SIZES.replace("5", str(K), 1))],
        )
        for K in (1, 20)
    ),
    (
        "Use one table for both roles: add `o = e` below the line that draws them and `g = np.stack([g.sum(axis=0)] * 2)` "
        "below the line of `g`. How high is then the score of a word beside itself, on average `(o * e).sum(axis=1).mean()`, "
        "and does that make sense?",
        [
            (DRAWN, DRAWN + "\no = e"),
            (GRADIENT, GRADIENT + "\n    g = np.stack([g.sum(axis=0)] * 2)"),
            ("after", LAST, "(o * e).sum(axis=1).mean()"),
        ],
    ),
    (
        "Use one table for both roles: add `o = e` below the line that draws them and `g = np.stack([g.sum(axis=0)] * 2)` "
        "below the line of `g`. How high is then the score of a word beside itself, on average `(o * e).sum(axis=1).mean()`, "
        "and does that make sense?",
        [(DRAWN, DRAWN + "\no = e")],
    ),
]
REMARKS = []

VARIATIONS = [
    [('text = "Mr.', 'text = "第一句。第二句！"  # "Mr.')],
    [("12 if FAST else 400", "4 if FAST else 40")],
    [("ours = learn(words, 300 if FAST else 2000)", "ours = learn(words, 100)")],
    [("ours = learn(words, 300 if FAST else 2000)", "ours = learn(words, 10_000)")],
    [('["i loved the music .", "the plot was unwatchable ."]', '["wonderful", "电影 !"]')],
    [("size=16", "size=1")],
    [("k = 2000", "k = 500")],
    [("V, C = (600, 20) if FAST else (1000, 50)", "V, C = 60, 10")],
    [("V, C = (600, 20) if FAST else (1000, 50)", "V, C = 2000, 5")],
    [
        (
            'around = [word for word in ("murder",',
            'around = [word for word in ("murder", "bad", "good", "director", "he",',
        )
    ],
    [("steps, losses = 20 if FAST else 300, []", "steps, losses = 3, []")],
]
