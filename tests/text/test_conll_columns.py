"""CoNLL files as people write them: every layout is made up from known sentences and must be read as these sentences."""

import random

import pytest

from minilm.errors import InputError
from minilm.text.tagged import conll_lines, line_number

TOKENS = [*"Anna U.S. # #1 张 北京 3 1998 - \" 's é O B-PER".split(), "New York", "no\u00a0break", "a\u2028b"]
KINDS = ["PER", "LOC", "GPE-LOC"]
COMMENTS = ["# text = Anna left O", "# id abc domain=en", "# sent_id = 3", "#", "# a comment of some words"]


def sentences(rng, spaces):
    """Some tagged sentences; their tokens have spaces inside only if `spaces`."""
    found = []
    for _ in range(rng.randrange(1, 6)):
        n = rng.randrange(1, 7)
        tokens = [rng.choice(TOKENS if spaces else [t for t in TOKENS if " " not in t]) for _ in range(n)]
        tags, i = [], 0
        while i < n:
            width = rng.choice((1, 1, 2))
            kind = rng.choice([None, None, *KINDS])
            tags += ["O"] if kind is None else [f"B-{kind}", *[f"I-{kind}"] * (width - 1)]
            i = len(tags)
        found.append((tokens, tags[:n]))
    return found


def written(rng, found, columns, delimiter, index, comments):
    """The sentences as a file: (its lines, and the numbers of the lines where each sentence has its tokens)."""
    lines, numbers = [], []
    if rng.random() < 0.3:
        lines += [delimiter.join(["-DOCSTART-", *["-X-"] * (columns - 2), "O"]), ""]
    count = 0 if index == "from 0" else 1
    for tokens, tags in found:
        if index == "restarts":
            count = 1
        if comments and rng.random() < 0.6:
            lines.append(rng.choice(COMMENTS))
        where = []
        for token, tag in zip(tokens, tags, strict=True):
            cells = [token, *["_" if rng.random() < 0.5 else "NN"] * (columns - 2), tag]
            if index:
                cells = [str(count), *cells]
                count += 1
            lines.append(delimiter.join(cells))
            where.append(len(lines))
        numbers.append(where)
        lines += [rng.choice(["", " ", "\t", "\u200b"])] * rng.choice((1, 1, 2))
    return lines, numbers


def layouts(count, seed=0):
    """(name, content of the file, its sentences, their line numbers) for `count` layouts drawn at random."""
    rng = random.Random(seed)
    for i in range(count):
        delimiter = rng.choice(["\t", " ", "   "])
        index = rng.choice([None, None, "restarts", "goes on", "from 0"])
        found = sentences(rng, spaces=delimiter == "\t")
        if index:  # with one token per sentence, nothing tells that the numbers count tokens
            found.append((["Bo", "left"], ["B-PER", "O"]))
        columns = rng.choice([2, 2, 3, 4])
        comments = rng.random() < 0.5
        lines, numbers = written(rng, found, columns, delimiter, index, comments)
        ends = [rng.choice(["\n", "\r\n", "\r"])] * len(lines)
        if rng.random() < 0.2:
            ends = [rng.choice(["\n", "\r\n"]) for _ in lines]
        content = "".join(line + end for line, end in zip(lines, ends, strict=True))
        yield f"{i} {delimiter!r} {index} {columns}", rng.choice(["", "\ufeff"]) + content, found, numbers


def test_every_layout_is_read_as_the_sentences_that_it_was_made_from(tmp_path):
    """500 files: separators, further columns, numbers before the tokens, comments, line ends, blank lines, BOM."""
    path = tmp_path / "a.conll"
    for name, content, found, numbers in layouts(500):
        path.write_bytes(content.encode())
        lines = list(conll_lines(path))
        assert [(line.tokens, line.tags) for line in lines] == found, name
        assert [[line_number(line, i) for i in range(len(line.tokens))] for line in lines] == numbers, name


def read(tmp_path, content):
    path = tmp_path / "a.conll"
    path.write_bytes(content.encode())
    notes = []
    lines = list(conll_lines(path, lambda text: notes.append(text.removeprefix(f"{path}: "))))
    return [list(zip(line.tokens, line.tags, strict=True)) for line in lines], notes


@pytest.mark.parametrize(
    ("content", "wanted", "note"),
    [
        ("New York\tB-LOC\nis O", "New York/B-LOC is/O", None),
        ("# # O\n# NN O\nAnna NN B-PER\n# text = O", "#/O #/O Anna/B-PER", "comments were skipped: 1, such as '# text = O' in line 4"),
        ("#\tO\n#1\tO\n# a\tB-X", "#/O #1/O # a/B-X", None),
        ("1\tAnna\tB-PER\n2-3\tdu\tO\n2\tde\tO\n3\tle\tO", "Anna/B-PER de/O le/O", "were left out: 1."),
        ("50_1 Anna B-PER\n50_2 left O\n\n51_1 Bo B-PER", "Anna/B-PER left/O|Bo/B-PER", "first column counts the tokens"),
        ("\u200b\tO\nAnna\tB-PER\n\t \n \tO\nBo\tO", "Anna/B-PER|Bo/O", "invisible were left out: 2, the first in line 1"),
        ("a O\n O\nb O", "a/O b/O", "invisible were left out: 1, the first in line 2"),
        ("a\u200b\t B-X \nb\tO\t", "a/B-X b/O", None),
        ("a S-X\nb B-X\nc E-X", "a/B-X b/B-X c/I-X", "the tags are BIOES and were read as BIO"),
        ("a U-X\nb B-X\nc I-X\nd L-X", "a/B-X b/B-X c/I-X d/I-X", "the tags are BILOU"),
        ("a S-X\nb B-X\nc M-X\nd E-X", "a/B-X b/B-X c/I-X d/I-X", "the tags are BMES"),
        ("a X-B\nb X-I\nc O", "a/B-X b/I-X c/O", "the tags are BIO and were read as BIO"),
        ("a I-X\nb I-X\nc B-X\n\nd I-X", "a/B-X b/I-X c/B-X|d/B-X", "read as B-…: 2, the first in line 1"),
        ("a B-NP B-PER\nb O O", "a/B-PER b/O", "column 2 holds tags, too, such as B-NP"),
    ],
)  # fmt: skip
def test_what_is_skipped_or_changed_is_said(tmp_path, content, wanted, note):
    found, notes = read(tmp_path, content)
    assert "|".join(" ".join(f"{token}/{tag}" for token, tag in line) for line in found) == wanted
    assert len(notes) == (note is not None) and (note is None or note in notes[0])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("in O\n\nNew York B-LOC", "line 3: 3 columns, but line 1 has 2; if a token contains spaces, put tabs between"),
        ("New York B-LOC\nin O", "line 2: 2 columns, but line 1 has 3"),
        ("a\tO\nb\tNN\tO", "line 2: 3 columns, but line 1 has 2"),
        ("a\tO\n\nb\t\n", "line 3: 'b' has no tag"),
        ("张　B-PER\n", "line 1: .*B-PER' has no tag"),
        (
            "s1 Anna B-PER\ns1 left O\ns1 . O\n\ns2 Bo B-PER",
            "line 1: the first column .'s1' ….* does not hold the words",
        ),
        ("7 Anna B-PER\n9 left O\n4 . O", "the first column .'7' ….* does not hold the words"),
        ("1 B-PER\n2 O\n\n1 O", "the first column only counts the tokens"),
        ("a O\n\nb PER", "line 3: 'PER' is not a BIO tag: it does not say where an entity begins"),
        ("a NOUN\nb VERB", "line 1: 'NOUN' is not a BIO tag: the tags .NOUN, VERB"),
        ("a O\nb LABEL_1", "line 2: 'LABEL_1' is a number and names no entity"),
        ("a O\nb B-X\nc S-X\nd L-X", "line 4: 'L-X' is not a BIO tag"),
        ("\u200b\n \n\ufeff", "is empty"),
        ("# text = O\n", "is empty"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_line(tmp_path, content, what):
    with pytest.raises(InputError, match=what):
        read(tmp_path, content)
