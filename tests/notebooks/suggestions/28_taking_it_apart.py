"""Notebook 28: what "What to try" says, done literally, and one change more in every section."""

SUMS = 'print(f"with all heads {with_all:.2f} nats, without any {without_any:.2f}")'

TRY = [
    (
        "Build a machine of three parts that needs any two of them: print "
        '`shares(lambda gone: 2 * (len(gone) > 1), ["A", "B", "C"])`. What do the two sums say?',
        [
            (
                "after",
                'print(f"{name:5}  out {out:.0f}',
                'print(shares(lambda gone: 2 * (len(gone) > 1), ["A", "B", "C"]))',
            )
        ],
    ),
    (
        "Put a chain of A and B beside a spare pair, C and D: print "
        '`shares(lambda gone: 2 * bool({"A", "B"} & {*gone}) + 2 * ({"C", "D"} <= {*gone}), ["A", "B", "C", "D"])`.',
        [
            (
                "after",
                'print(f"{name:5}  out {out:.0f}',
                'print(shares(lambda gone: 2 * bool({"A", "B"} & {*gone}) + 2 * ({"C", "D"} <= {*gone}), ["A", "B", "C", "D"]))',
            )
        ],
    ),
    (
        "Take the heads out by zero: print `loss_without(heads)` and the loss of "
        "`with without(model, heads): print(loss_of(model))`.",
        [
            (
                "after",
                SUMS,
                'print(f"{loss_without(heads):.2f}")\nwith without(model, heads):\n    print(f"{loss_of(model):.2f}")',
            )
        ],
    ),
    (
        "Give each layer of the GPT a single head: set `heads=4` to `heads=1` and `D = 16` to `D = 64`, and print "
        "`np.round(shares(loss_without, heads), 2)`. What do the two sums say now?",
        [
            ("heads=4, feed_forward=256", "heads=1, feed_forward=256"),
            ("D = every_head(model), 16", "D = every_head(model), 64"),
            ("after", SUMS, "print(np.round(shares(loss_without, heads), 2))"),
        ],
    ),
    (
        "Exchange v and z in place of u and w: set `x_prime[:, [i, k]] = x[:, [k, i]]` to "
        "`x_prime[:, [i + 1, k + 1]] = x[:, [k + 1, i + 1]]`. Which group carries the answer now, and how long?",
        [("x_prime[:, [i, k]] = x[:, [k, i]]", "x_prime[:, [i + 1, k + 1]] = x[:, [k + 1, i + 1]]")],
    ),
]
REMARKS = []
FULL = {}

# Every third one runs in the suite, so the long ones stand between.
VARIATIONS = [
    [("2 * (len(gone) == 2)", "3 * (len(gone) == 2)")],
    [("symbols, T = 32, 32", "symbols, T = 20, 34")],
    [("for layer in (0, 1)]\n", "for layer in (1, 0)]\n")],
    [("two = [heads[0], heads[-1]]", "two = heads[1:4]")],
    [("p, i, k = 12, 4, 8", "p, i, k = 9, 2, 6")],
    [("layers=2, heads=4, feed_forward=2 * C", "layers=3, heads=2, feed_forward=2 * C")],
]
