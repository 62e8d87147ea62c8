"""Every scheme of tags read as BIO and written again, with seqeval as the referee over generated sequences."""

import itertools
import random

import pytest
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, IOE1, IOE2, Entities

from minilm.errors import InputError
from minilm.text.tag_schemes import BARE, BIO, LETTERS, Scheme, recognise

KINDS = ("PER", "LOC", "GPE-LOC", "geo_loc", "B", "E-S")
AS_BIOES = str.maketrans("MLUW", "IESS")


def entities(bio):
    return [(kind, first, last + 1) for kind, first, last in get_entities(bio)]


def drawn(rng, scheme, known_kinds=KINDS):
    """Entities of a line that was made up, and their tags in `scheme`, written here from the definition of each scheme."""
    found, tags, before = [], [], None
    for _ in range(rng.randrange(7)):
        gap = rng.choice((0, 0, 1, 2))
        tags += ["O"] * gap
        kind, length = rng.choice(known_kinds), rng.choice((1, 1, 2, 3, 4))
        found.append((kind, len(tags), len(tags) + length))
        touches = before == kind and not gap
        follows = rng.random() < 0.4  # whether another of its kind touches it, for IOE1
        if scheme == "IOB1":
            letters = ["B" if touches else "I"] + ["I"] * (length - 1)
        elif scheme == "IOE2":
            letters = ["I"] * (length - 1) + ["E"]
        elif scheme == "IOE1":
            letters = ["I"] * length
            if follows:
                letters[-1] = "E"
                tags += [f"{letter}-{kind}" for letter in letters]
                found.append((kind, len(tags), len(tags) + 1))
                letters = ["I"]
            tags += [f"{letter}-{kind}" for letter in letters] + ["O"]
            before = None
            continue
        elif scheme == "BIO":
            letters = ["B"] + ["I"] * (length - 1)
        else:
            b, m, e, s = {"BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES", "BMEWO": "BMEW"}[scheme]
            letters = [s] if length == 1 else [b, *[m] * (length - 2), e]
        tags += [f"{letter}-{kind}" for letter in letters]
        before = kind
    return found, [*tags, *["O"] * rng.randrange(2)]


STRICT = {"IOB1": IOB1, "BIO": IOB2, "IOE1": IOE1, "IOE2": IOE2, "BILOU": BILOU}
STRICT |= dict.fromkeys(("BIOES", "BMES", "BMEWO"), IOBES)


@pytest.mark.parametrize("name", STRICT)
def test_entities_of_every_scheme_equal_seqeval_in_strict_mode(name):
    """400 sequences for each of the 8 schemes. seqeval has no M and no W: for it they are written as I and S."""
    rng = random.Random(name)
    for _ in range(400):
        found, tags = drawn(rng, name, KINDS[:4])
        scheme = recognise(tags, str)
        assert entities(scheme.to_bio(tags)) == found
        if name == "IOE1":  # seqeval says itself that it cannot read all of it
            continue
        referee = [tag[:1].translate(AS_BIOES) + tag[1:] for tag in tags] if name in ("BMES", "BMEWO") else tags
        strict = Entities([referee], STRICT[name]).entities[0]
        assert [(each.tag, each.start, each.end) for each in strict] == found


@pytest.mark.parametrize("name", ["BIO", "BIOES", "BILOU", "BMES"])
def test_sequences_that_break_their_scheme_are_read_as_seqeval_reads_them(name):
    """What a model predicts need not follow the scheme: 600 random sequences for each, seqeval in its default mode."""
    rng = random.Random(name)
    scheme = Scheme(name)
    for _ in range(600):
        tags = [rng.choice(["O", *(f"{c}-{k}" for c in LETTERS[name] for k in ("PER", "GPE-LOC"))]) for _ in range(9)]
        referee = [tag if tag == "O" else tag[0].translate(AS_BIOES) + tag[1:] for tag in tags]
        assert entities(scheme.to_bio(tags)) == entities(referee)


@pytest.mark.parametrize("form", [("-", False), ("_", False), ("-", True), ("_", True)])
@pytest.mark.parametrize("name", LETTERS)
def test_bio_is_written_in_every_scheme_and_read_again(name, form):
    rng = random.Random(f"{name}{form}")
    scheme = Scheme(name, *form)
    known = {scheme.join(letter, kind) for letter in LETTERS[name] for kind in KINDS} | {"O"}
    for _ in range(100):
        _, bio = drawn(rng, "BIO")
        written = scheme.from_bio(bio, known)
        assert set(written) <= known and scheme.to_bio(written) == bio
    if form != ("-", True) or name not in ("BIOES", "BMES"):  # E-S is a tag of both forms then
        assert recognise(known, str) == scheme


def test_scores_are_those_of_seqeval_in_strict_mode():
    """True and predicted tags of a BIOES model, scored as BIO here and in its own scheme by seqeval."""
    rng = random.Random(0)
    scheme = Scheme("BIOES")
    for _ in range(100):
        bio = [["O"] * 12, ["O"] * 12]
        for line in bio:
            for _ in range(3):
                start, length, kind = rng.randrange(9), rng.choice((1, 2, 3)), rng.choice(("PER", "LOC"))
                line[start : start + length] = [f"B-{kind}", *[f"I-{kind}"] * (length - 1)]
            line[:] = BIO.to_bio(line)
        own = [scheme.from_bio(line, {f"{c}-{k}" for c in "BIES" for k in ("PER", "LOC")}) for line in bio]
        assert [scheme.to_bio(line) for line in own] == bio
        strict = f1_score([own[0]], [own[1]], mode="strict", scheme=IOBES)
        assert f1_score([bio[0]], [bio[1]]) == pytest.approx(strict)


def test_a_model_that_lacks_a_letter_gets_the_next_best():
    old = {"O", "I-PER", "B-LOC", "I-LOC"}  # labels of models trained on IOB1
    assert BIO.from_bio(["B-PER", "I-PER", "O", "B-LOC"], old) == ["I-PER", "I-PER", "O", "B-LOC"]
    assert BARE.from_bio(["B-PER", "I-PER", "O", "B-LOC"], {"PER", "LOC", "O"}) == ["PER", "PER", "O", "LOC"]
    assert BARE.to_bio(["PER", "PER", "LOC", "O", "PER"]) == ["B-PER", "I-PER", "B-LOC", "O", "B-PER"]
    assert Scheme("BIOES").from_bio(["B-MISC"], {"O", "B-PER"}) == ["S-MISC"]  # an unknown type stays unknown


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("O", BIO),
        ("O B-PER I-PER", BIO),
        ("O I-PER", BIO),
        ("O B-GPE-LOC I-GPE-LOC B-geo_loc", BIO),
        ("O B_PER I_PER", Scheme("BIO", "_")),
        ("O B_GPE-LOC I_geo_loc", Scheme("BIO", "_")),
        ("O PER-B PER-I", Scheme("BIO", "-", True)),
        ("O GPE-LOC_B", Scheme("BIO", "_", True)),
        ("O S-B S-I", Scheme("BIO", "-", True)),
        ("O B-S I-S", BIO),
        ("O S-PER B-PER E-PER", Scheme("BIOES")),
        ("O S-PER", Scheme("BIOES")),
        ("O U-PER L-PER B-PER", Scheme("BILOU")),
        ("O M-PER B-PER E-PER S-PER", Scheme("BMES")),
        ("O W-PER B-PER E-PER", Scheme("BMEWO")),
        ("O I-PER E-PER", Scheme("IOE")),
        ("O PER LOC", BARE),
    ],
)
def test_a_scheme_is_recognised_by_its_tags(tags, scheme):
    assert recognise(tags.split(), str) == scheme


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ("LABEL_0 LABEL_1", "at LABEL_0: 'LABEL_0' is a number and names no entity"),
        ("O LABEL_1", "at LABEL_1: 'LABEL_1' is a number"),
        ("0 1 2", "at 0: '0' is a number"),
        ("NOUN VERB ADJ", r"at NOUN: 'NOUN' is not a BIO tag: the tags \(ADJ, NOUN, VERB …\) include no O"),
        ("O B-PER PER", "at PER: 'PER' is not a BIO tag; write O, B-… or I-…"),
        ("O B-PER b-per", "at b-per: 'b-per' is not a BIO tag"),
        ("O B-PER L-PER E-PER", "at E-PER: 'E-PER' is not a BIO tag"),
        ("O B I", "at B: 'B' is not a BIO tag"),
        ("O B- I-", "at B-: 'B-' is not a BIO tag"),
        ("PER", "at PER: 'PER' is not a BIO tag"),
    ],
)
def test_tags_that_mark_no_entities_are_refused(tags, what):
    with pytest.raises(InputError, match=what):
        recognise(tags.split(), lambda tag: f"at {tag}")


ALLOWED = {
    "BIO": (BIO, [f"{letter}-{kind}" for kind in ("PER", "LOC") for letter in "BI"]),
    "IOB1, where no two persons touch": (BIO, ["I-PER", "B-LOC", "I-LOC"]),
    "IOE": (Scheme("IOE"), ["I-PER", "E-PER", "I-LOC", "E-LOC"]),
    "BIOES": (Scheme("BIOES"), [f"{letter}-{kind}" for kind in ("PER", "LOC") for letter in "BIES"]),
    "BIOES, where no person has three words and no place has one": (
        Scheme("BIOES"),
        ["B-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "E-LOC"],
    ),
    "BILOU": (Scheme("BILOU", "_"), [f"{letter}_{kind}" for kind in ("PER", "LOC") for letter in "BILU"]),
    "BMES, the type first": (
        Scheme("BMES", "-", True),
        [f"{kind}-{letter}" for kind in ("PER", "LOC") for letter in "BMES"],
    ),
    "BMEWO": (Scheme("BMEWO"), [f"{letter}-{kind}" for kind in ("PER", "LOC") for letter in "BMEW"]),
    "bare": (BARE, ["PER", "LOC"]),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_F31_the_allowed_steps_are_those_that_occur_in_lines_that_are_written(name):
    """All lines of up to four tokens that BIO can write, written in the scheme: no step is missing, and none is too many."""
    scheme, inside = ALLOWED[name]
    labels = ("O", *inside)
    found = set()
    for length in range(1, 5):
        for line in itertools.product(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), repeat=length):
            bio = scheme.to_bio(scheme.from_bio(BIO.to_bio(line), labels))
            written = scheme.from_bio(bio, labels)
            if set(written) <= {*labels}:  # a scheme without one of its letters cannot write some lines
                found |= set(itertools.pairwise(["start", *written, "end"]))
    allowed = scheme.allowed_steps(labels)
    assert [len(row) for row in allowed] == [len(labels) + 1] * (len(labels) + 1)
    steps = {(a, b) for a, row in zip((*labels, "start"), allowed, strict=True)
             for b, step in zip((*labels, "end"), row, strict=True) if step}  # fmt: skip
    assert steps - {("start", "end")} == found
    assert recognise(labels, str) == scheme
