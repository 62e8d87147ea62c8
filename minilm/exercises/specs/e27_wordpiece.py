r"""BPE and WordPiece: learning joins, and cutting words.  45 minutes, medium."""

import re
from functools import partial
from itertools import pairwise

from minilm.exercises.spec import Exercise, listed


def learn_joins(words: dict[str, int], n: int) -> list[tuple[str, str]]:
    r"""The first `n` joins (also called merges) in order, learned from words and their counts; fewer if nothing is left to join.

    Every word starts as a list of its letters. Each step counts how often two pieces stand side by side: every such place in
    a word counts as often as the word occurs, and a a a contains the pair (a, a) twice. The most frequent pair is joined
    everywhere, from left to right (a a a → aa a). Of equally frequent pairs, the first in alphabetical order is taken: (a, b)
    before (a, c) before (b, a).
    """
    pieces = {word: list(word) for word in words}
    joins: list[tuple[str, str]] = []
    while len(joins) < n:
        counts: dict[tuple[str, str], int] = {}
        for word, row in pieces.items():
            for pair in pairwise(row):
                counts[pair] = counts.get(pair, 0) + words[word]
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # ties: the first in the alphabet
        joins.append(best)
        for word, row in pieces.items():
            out: list[str] = []
            i = 0
            while i < len(row):
                together = tuple(row[i : i + 2]) == best
                out.append("".join(best) if together else row[i])
                i += 2 if together else 1
            pieces[word] = out
    return joins


def cut(word: str, vocabulary: set[str]) -> list[str]:
    r"""WordPiece: from left to right, take the longest piece that is in the vocabulary; ["[UNK]"] if at some point no piece fits.

    Pieces that continue a word are written with ## in front, both in the vocabulary and in the result.
    """
    pieces, start = [], 0
    while start < len(word):
        ends = range(len(word), start, -1)  # try the longest piece first
        found = [end for end in ends if "##" * (start > 0) + word[start:end] in vocabulary]
        if not found:
            return ["[UNK]"]
        pieces.append("##" * (start > 0) + word[start : found[0]])
        start = found[0]
    return pieces


def flawed_learn(words, n, wrong=frozenset()):
    pieces, joins = {word: list(word) for word in words}, []
    for _ in range(n):
        counts = {}
        for word, row in pieces.items():
            last, skip = None, False
            neighbours = list(pairwise(row))
            if "once_per_word" in wrong:
                neighbours = list(dict.fromkeys(neighbours))
            for pair in neighbours:
                skip = "once" in wrong and pair == last and pair[0] == pair[1] and not skip
                if not skip:
                    counts[pair] = counts.get(pair, 0) + (1 if "types" in wrong else words[word])
                last = pair
        if not counts:
            break
        ranked = sorted(counts, reverse="last_tie" in wrong) if "first_seen" not in wrong else counts
        best = (min if "rarest" in wrong else max)(ranked, key=counts.get)  # of equals, the first one
        if "score" in wrong:  # WordPiece's own rule: the count over the product of the parts' counts
            single = {
                piece: sum(words[w] * row.count(piece) for w, row in pieces.items())
                for pair in ranked
                for piece in pair
            }
            best = max(ranked, key=lambda pair: counts[pair] / single[pair[0]] / single[pair[1]])
        joins.append(best)
        for word, row in pieces.items():
            if "replaced" in wrong:  # also joins a piece that only ends with the first part
                pieces[word] = " ".join(row).replace(" ".join(best), "".join(best)).split(" ")
                continue
            out, i = [], 0
            while i < len(row):
                if "one_place" in wrong and "".join(best) in out:
                    out, i = [*out, row[i]], i + 1
                elif tuple(row[i : i + 2]) == best:
                    out.append("".join(best))
                    i += 1 if "overlap" in wrong and tuple(row[i + 1 : i + 3]) == best else 2
                    if "third_lost" in wrong and best[0] == best[1] and row[i : i + 1] == [best[0]]:
                        i += 1
                else:
                    out, i = [*out, row[i]], i + 1
            pieces[word] = out
    return joins


def flawed_cut(word, vocabulary, wrong=frozenset()):
    if "limit" in wrong and len(word) > 100:
        return ["[UNK]"]
    if "backwards" in wrong:
        pieces, end = [], len(word)
        while end > 0:
            starts = [s for s in range(end) if "##" * (s > 0) + word[s:end] in vocabulary]
            if not starts:
                return ["[UNK]"]
            pieces.insert(0, "##" * (starts[0] > 0) + word[starts[0] : end])
            end = starts[0]
        return pieces
    pieces, start = [], 0
    while start < len(word):
        mark = "" if "no_marks" in wrong else "##" * (start > 0)
        ends = range(len(word), start, -1)
        found = [e for e in ends if mark + word[start:e] in vocabulary]
        if not found:
            return [*pieces, "[UNK]"] if "partly" in wrong else ["[UNK]"]
        end = found[-1] if "shortest" in wrong else found[0]
        shown = "" if "unwritten" in wrong else "" if "marks_turned" in wrong and mark else mark
        pieces.append(("##" if "marks_turned" in wrong and end < len(word) else shown) + word[start:end])
        start = end
    return pieces


def having(*wrong):
    functions = {"learn_joins": flawed_learn, "cut": flawed_cut}
    return {name: partial(function, wrong=frozenset(wrong)) for name, function in functions.items()}


def joins_as_text(words, n):
    """Words are text with a mark between the pieces; a join is a replacement."""
    rows, out = {w: "\x00" + "\x00".join(w) + "\x00" for w in words}, []
    for _ in range(n):
        seen = [(pair, words[w]) for w, row in rows.items() for pair in pairwise(row.strip("\x00").split("\x00"))]
        if not seen:
            return out
        total = {pair: sum(k for other, k in seen if other == pair) for pair in {pair for pair, _ in seen}}
        out.append(sorted(total, key=lambda pair: (-total[pair], pair))[0])
        old = re.compile("(?<=\x00)" + "\x00".join(map(re.escape, out[-1])) + "(?=\x00)")
        rows = {w: old.sub("".join(out[-1]), row) for w, row in rows.items()}
    return out


def joins_by_recursion(words, n, rows=None):
    rows = rows or [(tuple(w), k) for w, k in words.items()]
    pairs = sorted({pair for row, _ in rows for pair in pairwise(row)})
    if n == 0 or not pairs:
        return []
    best = max(
        pairs, key=lambda pair: sum(k * list(pairwise(row)).count(pair) for row, k in rows)
    )  # of equals, the first one

    def join(row):
        return ("".join(best), *join(row[2:])) if row[:2] == best else row[:1] + join(row[1:]) if row else ()

    return [best, *joins_by_recursion(words, n - 1, [(join(row), k) for row, k in rows])]


def cut_by_recursion(word, vocabulary, mark=""):
    if not word:
        return []
    head = max((word[:i] for i in range(1, len(word) + 1) if mark + word[:i] in vocabulary), key=len, default="")
    rest = cut_by_recursion(word[len(head) :], vocabulary, "##") if head else ["[UNK]"]
    return rest if "[UNK]" in rest else [mark + head, *rest]


def cut_by_pattern(word, vocabulary):
    def longest(pieces):
        return "|".join(map(re.escape, sorted(pieces, key=len, reverse=True))) or r"(?!)"

    first = re.compile(longest([p for p in vocabulary if not p.startswith("##")]))
    further = re.compile(longest([p[2:] for p in vocabulary if p.startswith("##")]))
    out, at = [], 0
    while at < len(word):
        m = (further if at else first).match(word, at)
        if m is None:
            return ["[UNK]"]
        out.append(("##" if at else "") + m[0])
        at = m.end()
    return out


def run(made, words, n, word, vocabulary):
    joins = made.learn_joins(words, n)
    cuts = [" ".join(made.cut(each, set(vocabulary))) for each in word]
    return {"joins": " · ".join("+".join(pair) for pair in joins), "pieces": " | ".join(cuts)}


def drawn(rng, n, letters, pieces):
    """Words of few different letters, so that there are many pairs and ties; a vocabulary that covers most of them."""
    texts = ["".join(rng.choice(list(letters), size=rng.integers(1, 8))) for _ in range(14)]
    parts = ["".join(rng.choice(list(letters), size=rng.integers(2, 5))) for _ in range(pieces)]
    some = [("##" if rng.random() < 0.6 else "") + part for part in parts]
    every = [*letters[:-1], *("##" + letter for letter in letters[:-1])]  # the last letter can be unknown
    words = {text: int(k) for text, k in zip(texts, rng.integers(1, 9, size=14))}
    return {"words": words, "n": n, "word": texts, "vocabulary": sorted({*every, *some})}


FIXED = {  # doubled letters, ties whose order in the text is not alphabetical, a word with an unknown end
    "words": {"zzzzz": 3, "baaab": 4, "abab": 2, "ccd": 7, "dcc": 1, "xyx": 5, "yxyx": 1, "aaaaa": 3, "qrqr": 4},
    "n": 12,
    "word": ["unable", "table", "tables", "ab", "unabler"],
    "vocabulary": "u un ##able ##a ##b ##ab ##le ##l ##e t ta tab ##s a able table".split(),
}


SAME_END = {  # once (a, b) is joined, "xa b" must stay two pieces; (x, a) came first
    "words": {"xab": 5, "xac": 4, "ab": 8, "cab": 7, "abab": 1, "bxa": 6},
    "n": 9,
    "word": ["xab", "xaxab", "b", "bab"],
    "vocabulary": "x a b xa ab ##a ##b ##ab ##x ##xa ##xab".split(),
}


def probes(rng):
    long = {"words": {"ab" * 30: 2, "abc": 1}, "n": 8, "word": ["ab" * 60, "abcabcabcabc", "cab", "Ab"]}
    long["vocabulary"] = ["a", "##a", "##b", "##c", "c", "##cabcabcabc", "ab", "##cab"]
    some = {f"words of {letters}": drawn(rng, 10, letters, 9) for letters in ("abc", "hugs")}
    return {"doubled letters and ties": FIXED, "long words": long, "pieces with the same end": SAME_END} | some


def edges(rng):
    nothing = {"words": {"a": 3, "bb": 1}, "n": 5, "word": ["", "a", "?"], "vocabulary": ["a", "##a"]}
    return {"nothing left to join": nothing, "no join asked for": FIXED | {"n": 0}}


MISTAKES = """  key · what it looks like · a question
once · in a a a, the pair (a, a) is counted once, not twice ·
    at how many places in a a a do two a stand side by side?
overlap · a a a is joined at overlapping places, which gives aa aa ·
    how many letters did the word have before you joined?
third_lost · the third letter of a a a is lost ·
    if you put the pieces together again, do you get the word?
types · every word counts once, however often it occurs ·
    what are the numbers beside the words for?
last_tie · of equally frequent pairs, the last in the alphabet is taken ·
    two pairs are equally frequent: which rule does the docstring give?
first_seen · of equally frequent pairs, the first one seen is taken ·
    two pairs are equally frequent: which rule does the docstring give?
shortest · the shortest piece that fits is taken ·
    if every letter is a piece, does your code ever take a longer one?
no_marks · pieces that continue a word are looked up without ## ·
    is "able" in "unable" the same piece as "able" at the beginning of a word?
unwritten · pieces are looked up with ## but returned without it ·
    can you tell from your pieces where a word begins?
partly · a word with an unknown end keeps its first pieces ·
    what does the docstring return as soon as no piece fits?
once_per_word · a pair that occurs twice in a word is counted once ·
    at how many places in a b a b do a and b stand side by side?
rarest · the rarest pair is joined ·
    which pair saves the most pieces, a frequent or a rare one?
score · the pair is chosen by its count divided by the counts of its parts ·
    which pair does the docstring join: the most frequent, or the most surprising?
replaced · a pair is also joined where a piece only ends or begins like it, because text is replaced ·
    the pieces xa and b: do they contain the pair (a, b)?
one_place · in every word, a pair is joined at one place only ·
    a b a b after joining (a, b): how many pieces are left?
backwards · the word is cut from right to left ·
    at which end of the word does the docstring begin?
marks_turned · ## stands behind the cut, at pieces that are continued, not at those that continue ·
    which piece of "un able" should carry the ##?
"""

EXERCISE = Exercise(
    target="minilm.exercises.specs.e27_wordpiece.learn_joins",
    also=("minilm.exercises.specs.e27_wordpiece.cut",),
    section=("03", "WordPiece in thirty lines"),
    task="Write two functions: one learns which pieces to join, the other cuts words into pieces of a vocabulary. Each is "
    "checked on its own. Pay attention to the rule for ties.",
    returns={"joins": "", "pieces": ""},
    tiny=lambda: {"words": {"aaab": 2, "ab": 1}, "n": 2, "word": ["abc"], "vocabulary": ["a", "ab", "##b", "##c"]},
    probes=probes,
    edges=edges,
    run=run,
    forbidden=("learn_joins", "train_from_iterator"),
    steps=(
        "every word as its letters; then, at each step, count the pairs that stand side by side, each as often as its word "
        "occurs",
        "the most frequent pair (of equals, the first in the alphabet) is the next join",
        "join it in every word, from left to right, and never use one piece twice",
    ),
    right={
        "as text": {"learn_joins": joins_as_text, "cut": cut_by_pattern},
        "recursion": {"learn_joins": joins_by_recursion, "cut": cut_by_recursion},
        "counted step by step": having(),
    },
    wrong=listed(MISTAKES, having),
    hints=(
        "Pieces that often stand together become one piece, and pieces can be joined again. Cutting is greedy: it always takes "
        "the longest piece that fits.",
        "words → lists of letters → counts of pairs, weighted by how often the word occurs → the best pair → new lists → "
        "repeat. To cut a word: from each start, try the farthest end first and the nearest last.",
        "repeat n times: count neighbours; best by (largest count, then smallest pair); walk each list: if two pieces are the "
        "pair, write both as one and go on by 2, else write one and go on by 1",
    ),
)
