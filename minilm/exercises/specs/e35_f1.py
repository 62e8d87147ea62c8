r"""Precision, recall and F1 of whole entities.  F30.  40 minutes, medium."""

import re
from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed_entities(tags, wrong=frozenset()):
    found, start, kind = set(), 0, None
    tags = ["-".join(tag.split("-")[:2]) for tag in tags] if "hyphen" in wrong else tags
    for i, tag in enumerate([*tags, "O"]):
        goes_on = tag.startswith("I-") if "joined" in wrong else tag == f"I-{kind}"
        if "opens_too" in wrong:
            goes_on = tag[1:] == f"-{kind}"
        if kind is not None and not goes_on:
            found.add((kind, start, i))
            kind = None
        if kind is None and tag != "O" and not ("orphans" in wrong and tag.startswith("I-")):
            start, kind = i, tag[2:]
    if "last_inclusive" in wrong:
        return {(k, a, b - 1) for k, a, b in found}
    return {(k, a, b) for k, a, b in found if b < len(tags)} if "at_the_end" in wrong else found


def flawed_counts(y, y_hat, wrong=frozenset()):
    def of(tags):
        if "tokens" in wrong:
            return {(tag[2:], i, i + 1) for i, tag in enumerate(tags) if tag != "O"}
        found = flawed_entities(tags, wrong)
        if "types" in wrong:
            return {("any", a, b) for k, a, b in found}
        return found | ({("O", i, i + 1) for i, tag in enumerate(tags) if tag == "O"} if "o" in wrong else set())

    pairs = [(of(true), of(guess)) for true, guess in zip(y, y_hat)]
    if "lines_merged" in wrong:  # the same entity in two lines counts once
        pairs = [tuple(set().union(*side) for side in zip(*pairs))]
    if "starts" in wrong or "ends" in wrong:
        cut = (lambda e: (e[0], e[1], 0)) if "starts" in wrong else (lambda e: (e[0], 0, e[2]))
        pairs = [tuple({cut(e) for e in side} for side in pair) for pair in pairs]
    kinds = sorted({kind for pair in pairs for found in pair for kind, _, _ in found})
    rows = []
    for kind in kinds:
        g = {(n, *e) for n, (true, _) in enumerate(pairs) for e in true if e[0] == kind}
        h = {(n, *e) for n, (_, guess) in enumerate(pairs) for e in guess if e[0] == kind}
        rows.append((len(g & h), len(h - g), len(g - h)))
    TP, FP, FN = np.array(rows).T
    return (kinds, TP, FN, FP) if "swapped" in wrong else (kinds, TP, FP, FN)


def flawed_averages(TP, FP, FN, wrong=frozenset()):
    def ratio(a, b):
        a, b = np.asarray(a, float), np.asarray(b, float)
        if "nan" in wrong:
            return a / b
        return np.where(b == 0, 1.0 if "one" in wrong else 0.0, a / np.where(b == 0, 1, b))

    def three(TP, FP, FN):
        P, R = ratio(TP, TP + FP), ratio(TP, TP + FN)
        if "turned" in wrong:
            P, R = R, P
        F1 = (P + R) / 2 if "arithmetic" in wrong else ratio((1 if "no_2" in wrong else 2) * P * R, P + R)
        F1 = ratio(TP, TP + FP + FN) if "jaccard" in wrong else np.sqrt(P * R) if "geometric" in wrong else F1
        return np.array([P, R, F1])

    micro, each = three(TP.sum(), FP.sum(), FN.sum()), three(TP, FP, FN)
    weight = TP + (FP if "by_guesses" in wrong else FN)
    macro, weighted = each.mean(1), each @ ratio(weight, weight.sum())
    if "seen_only" in wrong:
        macro = each[:, TP + FN > 0].mean(1) if (TP + FN).any() else 0 * macro
    if "weighted_f1" in wrong:
        weighted[2] = ratio(2 * weighted[0] * weighted[1], weighted[0] + weighted[1])
    if "exchanged" in wrong:
        macro, weighted = weighted, macro
    if "f1_of_means" in wrong:
        macro[2] = ratio(2 * macro[0] * macro[1], macro[0] + macro[1])
    return {"micro": micro, "macro": micro if "micro" in wrong else macro, "weighted": weighted}


def having(*wrong):
    functions = {"averages": flawed_averages, "entities": flawed_entities, "entity_counts": flawed_counts}
    return {name: partial(function, wrong=frozenset(wrong)) for name, function in functions.items()}


def by_borders(tags):
    """Find where each entity begins, and then how far it goes."""
    padded = ["O", *tags]
    starts = [i for i in range(len(tags)) if tags[i] != "O" and (tags[i][0] == "B" or padded[i][2:] != tags[i][2:])]
    out = set()
    for start in starts:
        end = start + 1
        while end < len(tags) and tags[end] == "I-" + tags[start][2:]:
            end += 1
        out.add((tags[start][2:], start, end))
    return out


def by_pattern(tags):
    line = "".join(f"<{i}:{tag}>" for i, tag in enumerate(tags))
    pattern = r"<(\d+):[BI]-([^>]+)>(?:<\d+:I-\2>)*"
    return {(m[2], int(m[1]), int(m[1]) + m[0].count("<")) for m in re.finditer(pattern, line)}


def by_loops(entities):
    def entity_counts(y, y_hat):
        tally = {}
        for true, guess in zip(y, y_hat):
            gold, said = entities(true), entities(guess)
            for e in gold | said:
                tally.setdefault(e[0], [0, 0, 0])[0 if e in gold and e in said else 1 if e in said else 2] += 1
        kinds = sorted(tally)
        return kinds, *(np.array([tally[kind][i] for kind in kinds]) for i in range(3))

    return entity_counts


def one_by_one(TP, FP, FN):
    def three(tp, fp, fn):
        P, R = tp / (tp + fp) if tp + fp else 0.0, tp / (tp + fn) if tp + fn else 0.0
        return P, R, 2 * tp / (2 * tp + fp + fn) if tp else 0.0

    each, n = [three(*c) for c in zip(TP, FP, FN)], sum(TP) + sum(FN)
    weighted = [sum(s[i] * (t + f) for s, t, f in zip(each, TP, FN)) / n if n else 0.0 for i in range(3)]
    macro = [sum(s[i] for s in each) / len(each) for i in range(3)]
    return {"micro": three(sum(TP), sum(FP), sum(FN)), "macro": tuple(macro), "weighted": tuple(weighted)}


def by_arrays(TP, FP, FN):
    whole = np.maximum([TP + FP, TP + FN], 1)
    P, R = TP / whole
    F1 = TP / np.maximum(TP + (FP + FN) / 2, 0.5)
    scores = np.array([P, R, F1])
    t = TP.sum()
    micro = [t / max(t + FP.sum(), 1), t / max(t + FN.sum(), 1), 2 * t / max(2 * t + FP.sum() + FN.sum(), 1)]
    n = TP + FN
    return {"micro": micro, "macro": scores.mean(1), "weighted": (scores * n).sum(1) / max(n.sum(), 1)}


def run(made, y, y_hat, counts):
    """Each of the three functions gets inputs of its own, so that a mistake in one does not affect the next."""
    spans = " | ".join(" ".join(f"{k}:{a}-{b}" for k, a, b in sorted(made.entities(line))) for line in y + y_hat)
    kinds, *three = made.entity_counts(y, y_hat)
    scores = made.averages(*counts)
    averages = {way: np.array([float(x) for x in scores[way]]) for way in ("micro", "macro", "weighted")}
    table = " ".join(f"{k} {' '.join(str(int(c[i])) for c in three)}" for i, k in enumerate(kinds))
    return {"entities": spans, "type TP FP FN": table, **averages}


def lines(rng, *lengths):
    tags = ["O", *(f"{b}-{kind}" for kind in ("LOC", "ORG", "PER") for b in "BI")]
    y = [[str(tag) for tag in rng.choice(tags, size=n, p=[0.4] + [0.1] * 6)] for n in lengths]
    guess = [[tag if rng.random() < 0.75 else str(rng.choice(tags)) for tag in line] for line in y]
    return {"y": y, "y_hat": guess}


ALIKE = {  # types that begin alike, the same name in two lines, and an empty line
    "y": ["B-LOC I-LOC O".split(), [], "B-LOC I-LOC B-MISC".split(), "B-PRODUCT B-PROJECT B-geo-loc".split()],
    "y_hat": ["B-LOC I-LOC O".split(), [], "B-LOC I-LOC O".split(), "B-PRODUCT B-PRODUCT B-geo-pol".split()],
}
FIXED = {  # names side by side, an I- that opens a name, an I- of another type, half a name, a name that reaches the end
    "y": ["B-PER I-PER O B-LOC B-LOC O".split(), "I-ORG I-ORG O B-PER I-LOC".split(), "O B-ORG I-ORG I-ORG".split()],
    "y_hat": ["B-PER O O B-LOC I-LOC O".split(), "B-ORG I-ORG O B-PER I-PER".split(), "O B-ORG I-ORG B-PER".split()],
}


def counted(*rows):
    return {"counts": tuple(map(np.array, rows))}


def probes(rng):
    return {
        "names side by side": FIXED | counted(*rng.integers(1, 30, size=(3, 4))),
        "types that look alike": ALIKE | counted(*rng.integers(1, 30, size=(3, 6))),
        "a few lines": lines(rng, 9, 5, 12, 7) | counted(*rng.integers(1, 30, size=(3, 5))),
        "a class that never occurs": lines(rng, 8, 15) | counted([7, 0, 3], [2, 4, 1], [1, 0, 6]),
    }


def edges(rng):
    one = {"y": [["B-PER"]], "y_hat": [["O"]]}
    return {
        "a class that was never predicted": one | counted([4, 0, 0], [1, 0, 0], [2, 5, 0]),
        "nothing right, a single class": {"y": [["O"]], "y_hat": [["I-LOC"]]} | counted([0], [0], [0]),
    }


MISTAKES = {  # by section: key · what it looks like · a question
    "Micro, macro, weighted": """
micro · the macro average is the micro average ·
    one class occurs 3 times, another 3,000 times: which weighs more in a macro average?
f1_of_means · macro F1 is computed from the mean precision and the mean recall ·
    is the F1 of two means the same as the mean of two F1 scores?
by_guesses · the weighted average is weighted by the number of predictions ·
    is support how often a class occurs, or how often it was predicted?
weighted_f1 · weighted F1 is computed from the weighted precision and the weighted recall ·
    is the F1 of two means the same as the mean of two F1 scores?
seen_only · the macro average leaves out classes that never occur ·
    over how many classes does the docstring take the mean?
exchanged · macro and weighted average are exchanged ·
    in which of the two does every class have the same weight?
""",
    "Four counts, and what is made of them": """
nan · a class that was never predicted causes a division by zero ·
    if TP + FP is 0, what should the precision be?
one · 0/0 counts as 1 ·
    does a tagger that finds nothing deserve full marks for precision?
arithmetic · F1 is the plain mean of precision and recall ·
    if precision is 1 and recall is 0, is the result half as good as perfect?
turned · precision and recall are exchanged ·
    which of the two asks: of all that I predicted, how much was right?
jaccard · F1 is TP / (TP + FP + FN) ·
    if precision and recall are both ½, what is their harmonic mean?
no_2 · the factor 2 of F1 is missing ·
    if precision and recall are both 1, what should F1 be?
geometric · F1 is the root of precision times recall ·
    which kind of mean is 2PR / (P + R)?
swapped · false positives and false negatives are swapped ·
    if only the prediction has an entity, is it a false positive or a false negative?
""",
    "The class that flatters: O": """
o · O is counted as if it were an entity ·
    nine words in ten are O: what would be the score of a tagger that always says O?
""",
    "Tokens against entities": """
tokens · tokens are counted, not whole entities ·
    if only “New” of “New York” is found, is the city found?
types · the type of an entity is ignored ·
    if a person is tagged as a place, is that right?
joined · an I- of another type continues the entity ·
    B-PER I-LOC: is that one person, or a person and a place?
opens_too · a B- continues an entity of its type instead of opening a new one ·
    B-LOC B-LOC: is that one place or two?
orphans · an I- that continues nothing is dropped ·
    what does the docstring say about an I-X when no entity of type X is open?
at_the_end · an entity that reaches the end of its line is lost ·
    what closes the last entity if no further tag follows?
hyphen · a type that contains a hyphen is cut off there ·
    B-geo-loc: where does the type begin, and where does it end?
last_inclusive · the second number is the last token, not the one after it ·
    in (type, first, last + 1), what is the third number of a name at token 4 alone?
lines_merged · the same name at the same place of two lines is counted once ·
    are two names in two sentences one entity?
starts · an entity counts as found if its type and its first token are right ·
    if only “New” of “New York” is found, is the city found?
ends · an entity counts as found if its type and its last token are right ·
    if only “York” of “New York” is found, is the city found?
""",
}

EXERCISE = Exercise(
    target="minilm.formulas.metrics.averages",
    also=("minilm.formulas.metrics.entities", "minilm.formulas.metrics.entity_counts"),
    section=("14", "Four counts, and what is made of them"),
    task="Turn BIO tags into a report: which entities there are, how many of them were found, and precision, recall and F1 in "
    "three averages. Each of the three functions is checked on its own. entity_counts returns the types in alphabetical order. "
    "0/0 counts as 0.",
    returns={"entities": "", "type TP FP FN": "", "micro": "score", "macro": "score", "weighted": "score"},
    tiny=lambda: {"y": [["B-PER", "I-PER", "O"]], "y_hat": [["B-PER", "O", "B-LOC"]]} | counted([2, 1], [2, 0], [0, 3]),
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property(
            "if all classes are found and nothing else, every score is 1",
            lambda rng: {"all right": FIXED | counted([3, 5], [0, 0], [0, 0])},
            lambda out: all((scores == 1).all() for scores in out[2:]),
        ),
    ),
    forbidden=("get_entities", "classification_report", "precision_recall_fscore_support", "f1_score", "averages"),
    steps=(
        "precision and recall of each class [K], 0 where the denominator is 0; then its F1 [K]",
        "micro: add up the counts of all classes, then compute the same three ratios",
        "macro: the plain mean of each score over the classes; weighted: the mean weighted by how often a class occurs, TP + FN",
    ),
    right={
        "loops": {"averages": one_by_one, "entities": by_borders, "entity_counts": by_loops(by_borders)},
        "arrays and a pattern": {"averages": by_arrays, "entities": by_pattern, "entity_counts": by_loops(by_pattern)},
        "sets and a dictionary": having(),
    },
    wrong={
        key: known for section, text in MISTAKES.items() for key, known in listed(text, having, ("14", section)).items()
    },
    hints=(
        "All three scores are ratios of counts. An average over classes either adds up the counts first (micro), or takes the "
        "mean of the finished scores (macro). An entity is found only if its type, its first token and its last token are all "
        "right.",
        "tags → a set of (type, first, last + 1) for truth and prediction → per type [K]: TP are in both, FP only in the "
        "prediction, FN only in the truth → P, R, F1 [K] → micro from the sums, macro the mean, weighted with (TP + FN) / Σ (TP "
        "+ FN).",
        "walk over the tags and an extra O at the end: close the open entity unless the tag is I- of its type; any other tag "
        "but O opens a new one;  P = TP over (TP + FP), 0 if that is 0;  micro from TP.sum(), FP.sum(), FN.sum();  macro = mean "
        "of P, of R, of F1",
    ),
)
