"""Taggers from the data to the printed entity, ours and published ones; `transformers` and seqeval are the referees."""

import json
import random

import pytest
import tiny
import torch
import transformers
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities
from tiny import silent

from minilm.errors import InputError
from minilm.files.checksums import unseal
from minilm.jobs.finetune import EvaluateOptions, FinetuneOptions, evaluate, finetune
from minilm.jobs.predict import PredictOptions, predict
from minilm.jobs.pretrain import pretrain
from minilm.pretrained.protocol import open_classifier
from minilm.text.files import Example
from minilm.text.segmentation_choice import choose_rule, with_spaces, written
from minilm.text.tagged import TaggedLine
from minilm.training.inference import predicted_tags
from minilm.training.metrics import entity_scores
from minilm.training.supervised import Recipe
from minilm.training.tasks import TokenTask, task_of

PIECES = (
    "anders ##son ##town ##s visit ##ed bonn riga left for don t u s . , ! ( ) \" ' - 3 5 张 在 北 京 。 ## a b".split()
)
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES]
WORDS = "andersson Anderstown visits visited Bonn Riga left for don't U.S. . , ! ( ) \" - 3.5 张 北京 。 unknown visit".split()
BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
BIOES = ("O", *(f"{letter}-{kind}" for letter in "BIES" for kind in ("PER", "GPE-LOC")))
BMES = ("O", *(f"{kind}_{letter}" for letter in "BMES" for kind in ("PER", "GPE-LOC")))
BARE = ("O", "PER", "LOC")


def for_seqeval(tags):
    """Tags of BIOES or of the BMES above as BIOES."""
    return [f"{tag[-1].replace('M', 'I')}-{tag[:-2]}" if "_" in tag else tag for tag in tags]


@pytest.fixture(scope="module")
def publish(tmp_path_factory):
    """Write a random BERT tagger as `transformers` does; its weights are large, so that it uses all of its labels."""

    def make(labels, max_position_embeddings=64):
        folder = tmp_path_factory.mktemp("published")
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        sizes = dict(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=8)
        config = transformers.BertConfig(
            vocab_size=len(VOCABULARY), **sizes, max_position_embeddings=max_position_embeddings, initializer_range=0.8
        )
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
        torch.manual_seed(len(labels))
        transformers.BertForTokenClassification(config).eval().save_pretrained(folder)
        return folder

    return make


def their_parts(folder):
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    return transformers.BertForTokenClassification.from_pretrained(folder).eval(), tokenizer


@torch.no_grad()
def their_tags(folder, lines):
    """The label at the first piece of each word, from the forward pass of `transformers` over all pieces."""
    model, tokenizer = their_parts(folder)
    out = []
    for words in lines:
        encoding = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        best = model(**encoding).logits[0].argmax(dim=-1).tolist()
        ids = encoding.word_ids()
        out.append([model.config.id2label[best[ids.index(word)]] for word in range(len(words))])
    return out


def drawn_lines(count, seed, words=tuple(WORDS)):
    rng = random.Random(seed)
    return [[rng.choice(words) for _ in range(rng.randrange(1, 13))] for _ in range(count)]


@pytest.mark.parametrize("labels", [BIO, BIOES, BMES, BARE])
def test_F31_tags_of_words_are_those_of_transformers_at_their_first_pieces(publish, labels):
    folder, lines = publish(labels), drawn_lines(300, 0)
    loaded = open_classifier(folder)
    task = task_of(loaded.model.head_config)
    assert task == TokenTask(labels)
    given = [TaggedLine(words, ["O"] * len(words)) for words in lines]
    encoded = task.encode(given, loaded.tokenizer, loaded.max_length)
    theirs = their_tags(folder, lines)
    assert predicted_tags(loaded.model, encoded, labels) == theirs
    assert len({tag for line in theirs for tag in line}) > len(labels) / 2  # the model is worth asking


@pytest.mark.parametrize("labels", [BIO, BARE])
def test_F31_entities_in_a_text_are_those_of_their_pipeline(publish, labels):
    """`aggregation_strategy="first"`: the first piece of a word stands for it. Offsets and text must be the same."""
    folder, rng = publish(labels), random.Random(1)
    texts = ["".join(word + rng.choice([" ", " ", "", "  "]) for word in words) for words in drawn_lines(200, 2)]
    model, tokenizer = their_parts(folder)
    pipeline = transformers.pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first", device="cpu"
    )
    loaded = open_classifier(folder)
    found = task_of(loaded.model.head_config).predict(
        loaded.model, [Example(text) for text in texts], loaded.tokenizer, loaded.max_length
    )
    for text, prediction in zip(texts, found, strict=True):
        theirs = [(each["entity_group"], each["start"], each["end"]) for each in pipeline(text)]
        assert [(each.kind, each.start, each.end) for each in prediction.entities] == theirs
        assert all(each.text == text[each.start : each.end] for each in prediction.entities)
    assert sum(len(each.entities) for each in found) > 200


@pytest.mark.parametrize("labels", [BIOES, BMES])
def test_F31_every_scheme_keeps_every_character_and_data_in_bio_are_measured_in_it(labels, publish, tmp_path):
    folder, lines = publish(labels), drawn_lines(60, 3)
    theirs = their_tags(folder, lines)
    loaded = open_classifier(folder)
    task = task_of(loaded.model.head_config)
    found = task.predict(loaded.model, [TaggedLine(words, []) for words in lines], loaded.tokenizer, None)
    for words, tags, prediction in zip(lines, theirs, found, strict=True):
        spans = with_spaces(words)[1]
        shown = get_entities(for_seqeval(tags))
        assert [each.kind for each in prediction.entities] == [kind for kind, _, _ in shown]
        if not any(word in "张北京。" for word in words):  # there the text has no spaces
            borders = [(spans[first][0], spans[last][1]) for _, first, last in shown]
            assert [(each.start, each.end) for each in prediction.entities] == borders
    rng = random.Random(4)  # the true tags: what the model says, with some entities missing
    bio = [task.scheme.to_bio([tag if rng.random() < 0.8 else "O" for tag in tags]) for tags in theirs]
    path = tmp_path / "bio.conll"
    rows = [
        "\n".join(f"{w}\t{t}" for w, t in zip(words, tags, strict=True)) for words, tags in zip(lines, bio, strict=True)
    ]
    path.write_text("\n\n".join(rows), encoding="utf-8")
    own = [for_seqeval(task.scheme.from_bio(line, labels)) for line in bio]
    wanted = f1_score(own, [for_seqeval(tags) for tags in theirs])
    assert 0.3 < wanted < 1 and evaluate(EvaluateOptions(folder, str(path)), silent)["f1"] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (("LABEL_0", "LABEL_1"), "the labels of the model: 'LABEL_0' is a number and names no entity"),
        (("NOUN", "VERB", "ADJ"), "the labels of the model: 'NOUN' is not a BIO tag: the tags .ADJ, NOUN, VERB"),
        (("O", "B-PER", "PER"), "the labels of the model: 'PER' is not a BIO tag"),
    ],
)
def test_labels_that_name_no_entities_are_refused(publish, labels, what):
    with pytest.raises(InputError, match=what):
        predict(PredictOptions(publish(labels), ("Bonn",)), silent)


def test_F31_a_word_longer_than_the_model_is_cut_and_said(publish):
    folder = publish(BIO, max_position_embeddings=8)
    notes, loaded = [], open_classifier(folder)
    long = "anders" + "s" * 20
    lines = [[long, "left", "bonn"], ["left", *["bonn"] * 12, ".", "riga", long]]
    task = task_of(loaded.model.head_config)
    given = [TaggedLine(words, ["O"] * len(words)) for words in lines]
    encoded = task.encode(given, loaded.tokenizer, loaded.max_length, where="x.conll", note=notes.append)
    assert max(map(len, encoded.rows)) <= 8
    assert [len(line) for line in predicted_tags(loaded.model, encoded, BIO)] == [3, 16]
    assert notes == ["x.conll: words with more pieces than a row of the model holds (6) were cut at their ends: 2, such as "
                     f"'{long[:20]}…'."]  # fmt: skip
    with pytest.raises(InputError, match="the model takes 2 tokens, and .CLS., a word and .SEP. need at least 3"):
        task.encode(given, loaded.tokenizer, 2)


# ---------------------------------------------------------------------------- text is cut as the training data was

NAMES, PLACES = ["Bo", "Anna", "Hugo Moore", "Dr. Ek"], ["Bonn", "Riga", "New York", "U.S."]
ENGLISH = ["In {1} , {0} slept .", '" {1} " said {0} .', "{0} left {1} ( {1} ) .", "Did {0} , who is 3.5 , see {1} ?"]
CHINESE_NAMES, CHINESE_PLACES = ["张建国", "李明", "欧阳山"], ["北京", "上海"]
CHINESE = ["记者 {0} 从 {1} 报道 。", "{0} 在 {1} 用 iPhone 15 。", "“ {0} ” 昨天 离开 了 {1} ， 说 ： 好 ！"]


def tokens_of(kind, rng):
    if kind == "English":
        return rng.choice(ENGLISH).format(rng.choice(NAMES), rng.choice(PLACES)).split()
    if kind == "mixed":
        return f"{rng.choice(NAMES)} met {rng.choice('张李王')} in {rng.choice(PLACES)} .".split()
    line = rng.choice(CHINESE).format(rng.choice(CHINESE_NAMES), rng.choice(CHINESE_PLACES)).split()
    if kind == "Chinese words":
        return line
    return [part for word in line for part in ([word] if kind == "units" and word.isascii() else word)]


@pytest.mark.parametrize("kind", ["English", "mixed", "Chinese words", "units", "characters"])
def test_units_of_a_text_are_those_of_the_training_data(kind, publish):
    """100 lines of each kind: written as a text, they are cut into their tokens again, and tagged as these tokens are."""
    rng, loaded = random.Random(kind), open_classifier(publish(BIO))
    lines = [TaggedLine(tokens := tokens_of(kind, rng), ["O"] * len(tokens)) for _ in range(100)]
    notes = []
    task = TokenTask.learnt_from(BIO, lines, "x.conll", notes.append)
    assert len(notes) == 1 and "100 % of the training tokens." in notes[0]
    write = with_spaces if kind == "Chinese words" else written
    texts = [write(line.tokens)[0] for line in lines]
    assert [task.cut(Example(t), loaded.tokenizer, "")[1] for t in texts] == [write(line.tokens)[1] for line in lines]
    by_text, by_tokens = (
        task.predict(loaded.model, given, loaded.tokenizer, loaded.max_length)
        for given in ([Example(text) for text in texts], lines)
    )
    for text, tokens in zip(by_text, by_tokens, strict=True):
        assert [e.kind for e in text.entities] == [e.kind for e in tokens.entities]
        assert ["".join(e.text.split()) for e in text.entities] == ["".join(e.text.split()) for e in tokens.entities]


def test_chinese_without_spaces_is_refused_by_a_tagger_of_words(publish):
    loaded = open_classifier(publish(BIO))
    lines = [TaggedLine("记者 欧阳山 从 北京 报道 。".split(), ["O"] * 6)]
    task = TokenTask.learnt_from(BIO, lines)
    assert (task.units, task.longest_word) == ("words", 3)
    assert task_of(task.head()) == task
    with pytest.raises(
        InputError, match="text 3 of a.txt has 4 characters without a space.*words of at most 3: put spaces"
    ):
        task.predict(loaded.model, [Example("他在北京。")], loaded.tokenizer, 64, where="a.txt", places=[2])
    notes = []
    task.predict(loaded.model, [Example("在北京。"), Example("在 北京。")], loaded.tokenizer, 64, note=notes.append)
    assert notes == [
        "text 1 of the texts has no space, so what stands between its punctuation marks was taken as one word."
    ]


# ---------------------------------------------------------------------------- the jobs


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A model that finds every hen, fitted to data with punctuation, and the folder with its files."""
    here = tmp_path_factory.mktemp("tagger")
    options = tiny.options(here, steps=2)
    pretrain(options, silent)
    rng, blocks = random.Random(0), []
    for _ in range(40):
        line = [rng.choice(["the", "a", "door", "hen", ",", "dog"]) for _ in range(5)] + ["."]
        blocks.append("\n".join(f"{word}\t{'S-HEN' if word == 'hen' else 'O'}" for word in line))
    (here / "hens.bioes").write_text("\n\n".join(blocks), encoding="utf-8")
    recipe = Recipe(epochs=30, learning_rate=1e-2, embedding_learning_rate_scale=1.0)
    said = []
    measured = finetune(
        FinetuneOptions(str(here / "hens.bioes"), str(options.out), here / "out", recipe=recipe, progress=False),
        said.append,
    )
    assert measured == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    return here, said


def test_the_units_are_written_into_the_folder_and_said(tagger):
    here, said = tagger
    head = json.loads((here / "out" / "config.json").read_text(encoding="utf-8"))["minilm_head"]
    assert (head["units"], head["longest_word"], head["labels"]) == ("words", 0, ["B-HEN", "O"])
    notes = (here / "out" / "notes.txt").read_text(encoding="utf-8")
    assert (
        "the tagger will cut text by the rule 'words' (words, with punctuation apart), which gives back 100 %" in notes
    )
    assert "the tags are BIOES and were read as BIO" in notes and all(
        f"note: {line}" in said for line in notes.splitlines()
    )


def test_a_folder_that_does_not_say_its_units_takes_the_tokenizers(tagger, tmp_path):
    here, _ = tagger
    config = here / "out" / "config.json"
    unseal(here / "out")
    entries = config.read_text(encoding="utf-8")
    try:
        for change, message in (
            ({}, ""),
            ({"units": "syllables"}, "text is cut by the rule 'syllables', which is not known"),
        ):
            older = json.loads(entries)
            for key in ("units", "longest_word"):
                del older["minilm_head"][key]
            older["minilm_head"] |= change
            config.write_text(json.dumps(older), encoding="utf-8")
            if message:
                with pytest.raises(InputError, match=message):
                    open_classifier(here / "out")
            else:
                assert task_of(open_classifier(here / "out").model.head_config) == TokenTask(
                    ("B-HEN", "O"), "tokenizer"
                )
                (found,) = predict(PredictOptions(here / "out", ("the hen, a hen.",)), silent)
                assert [(e.start, e.end) for e in found.entities] == [(4, 7), (11, 14)]
    finally:
        config.write_text(entries, encoding="utf-8")


def test_a_file_is_answered_line_by_line_with_numbers(tagger):
    here, _ = tagger
    (here / "t.txt").write_text("\n  the hen, a dog.\n\n\u200b\na\then\n", encoding="utf-8")
    said = []
    found = predict(PredictOptions(here / "out", ("(hen)",), here / "t.txt"), said.append)
    rows = [line for line in said if not line.startswith("note: ")]
    assert rows == ["HEN hen 1–4\t(hen)", "2\tHEN hen 6–9\t  the hen, a dog.", "5\tHEN hen 2–5\ta hen"]
    assert [(e.text, e.start, e.end) for p in found for e in p.entities] == [
        ("hen", 1, 4),
        ("hen", 6, 9),
        ("hen", 2, 5),
    ]
    (here / "t.csv").write_text('text\n"a hen,\na hen"\nthe dog\n', encoding="utf-8")
    said.clear()
    predict(PredictOptions(here / "out", file=here / "t.csv"), said.append)
    rows = [line for line in said if not line.startswith("note: ")]
    assert rows == ["1\tHEN hen 2–5, HEN hen 9–12\ta hen, a hen", "2\t–\tthe dog"]


def test_texts_that_end_in_what_looks_like_a_tag_are_texts(tagger):
    here, _ = tagger
    (here / "t.txt").write_text("a hen needs B-12\na dog needs B-6\n", encoding="utf-8")
    assert len(predict(PredictOptions(here / "out", file=here / "t.txt"), silent)) == 2


def test_a_conll_file_is_tagged_by_its_own_tokens(tagger):
    here, _ = tagger
    (here / "t.iob2").write_text("# text = a hen\na\tO\nhen\tB-HEN\n\n\nhen,\tO\nhen\tO\n", encoding="utf-8")
    said = []
    found = predict(PredictOptions(here / "out", file=here / "t.iob2"), said.append)
    rows = [line for line in said if not line.startswith("note: ")]
    assert rows[0].split("\t") == ["2", "HEN hen 2–5", "a hen"]
    assert rows[1].startswith("6\t") and rows[1].endswith("\then, hen") and len(rows) == len(found) == 2


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("t.txt", "a\tO\nhen\tB-HEN\n", r"t.txt looks like CoNLL: rename it so that it ends in .conll, "),
        (
            "t.md",
            "a hen",
            r"t.md does not say by its ending what it holds: the endings are .txt .*\.csv.*\.conll.*\.iob2",
        ),
        ("empty.txt", " \n\u200b\n", "empty.txt is empty"),
        ("none.txt", None, "no such file"),
    ],
)
def test_files_that_predict_cannot_take(tagger, name, content, what):
    here, _ = tagger
    if content is not None:
        (here / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=what):
        predict(PredictOptions(here / "out", file=here / name), silent)


def test_a_tagger_takes_no_pairs_and_no_invisible_text(tagger):
    here, _ = tagger
    with pytest.raises(InputError, match="tags single texts: leave out --pair"):
        predict(PredictOptions(here / "out", ("a hen",), pair="a dog"), silent)
    with pytest.raises(InputError, match="there is nothing to label"):
        predict(PredictOptions(here / "out", ("\u200b",)), silent)


@pytest.mark.parametrize("name", ["t.txt", "t.dat"])
def test_finetune_names_the_endings_that_it_wants(name, tagger, tmp_path):
    here, _ = tagger
    path = tmp_path / name
    path.write_text("a\tO\nhen\tB-HEN\n", encoding="utf-8")
    endings = (
        r"labelled texts end in \.csv, .*tagged words .CoNLL. in \.conll, .*\.iob2.*; rename it\. It looks like CoNLL"
    )
    with pytest.raises(InputError, match=endings):
        finetune(FinetuneOptions(str(path), str(here / "run"), tmp_path / "o"), silent)


def test_an_unknown_tag_and_no_entities_at_all_are_said_with_their_place(tagger):
    here, _ = tagger
    path = here / "t.conll"
    path.write_text("a\tO\nhen\tB-HEN\n\n\na\tO\n# a comment\nhen\tB-MISC\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 7 of .*t.conll has the tag 'B-MISC', which was not seen in training"):
        evaluate(EvaluateOptions(here / "out", str(path)), silent)
    path.write_text("a\tO\ndog\tO\n", encoding="utf-8")
    said = []
    assert evaluate(EvaluateOptions(here / "out", str(path)), said.append) == entity_scores([["O"]], [["O"]])
    reason = "the data has no entities, and the model found none"
    assert said == [f"1 example: f1 –, precision –, recall – (– is 0 divided by 0: {reason})"]


def test_F30_a_tagger_is_measured_kind_by_kind_and_on_names_that_it_does_not_know(tagger):
    """The model finds every hen, so it is right about "hen" and misses "door", which the file calls a hen."""
    here, _ = tagger
    path = here / "kinds.conll"
    path.write_text("a\tO\nhen\tB-HEN\n\nthe\tO\ndoor\tB-HEN\n.\tO\n\nHEN\tB-HEN\n", encoding="utf-8")
    said = []
    measured = evaluate(EvaluateOptions(here / "out", str(path), known=str(here / "hens.bioes")), said.append)
    assert measured == {"f1": pytest.approx(0.8), "precision": 1.0, "recall": pytest.approx(2 / 3)}
    (table,) = [line for line in said if line.startswith("| entities |")]
    assert table.splitlines()[2:] == [
        "| HEN | 1.000 | 0.667 | 0.800 | 3 |",
        "| micro average | 1.000 | 0.667 | 0.800 | 3 |",
        "| macro average | 1.000 | 0.667 | 0.800 | 3 |",
        "| weighted average | 1.000 | 0.667 | 0.800 | 3 |",
        "| known names | 1.000 | 1.000 | 1.000 | 2 |",
        "| new names | – | 0.000 | 0.000 | 1 |",
    ]
    evaluate(EvaluateOptions(here / "out", str(path)), said.append)
    assert said[-2] == "\n".join(table.splitlines()[:-2])
    with pytest.raises(InputError, match="--known is for taggers: give the tagged file or corpus"):
        evaluate(EvaluateOptions(here / "out", str(path), known="imdb"), silent)


def test_tokens_that_are_not_the_units_of_the_model_are_said(tagger):
    here, _ = tagger
    path = here / "letters.conll"
    path.write_text("dog,\tO\n(hen)\tB-HEN\n", encoding="utf-8")
    said = []
    evaluate(EvaluateOptions(here / "out", str(path)), said.append)
    predict(PredictOptions(here / "out", file=path), said.append)
    notes = [line for line in said if line.startswith("note") and "was trained on" in line]
    unlike = (
        "only 0% of its tokens are units that the tagger was trained on (rule 'words': words, with punctuation apart)."
    )
    assert notes == [f"note: {path}: {unlike}"] * 2


def test_the_rule_for_the_word_data_of_a_newspaper_in_two_kinds():
    """The same sentences as words and as characters need different rules, and the choice tells them apart."""
    line = "记者 欧阳山 从 北京 报道 。".split()
    assert (choose_rule([line]).rule, choose_rule([[*"".join(line)]]).rule) == ("words", "characters")
