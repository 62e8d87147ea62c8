"""`finetune` with augmentation, texts without labels and a second task; nothing that is measured is ever learned from."""

import json

import pytest
import tiny
import torch
from tiny import DATA, command, silent, weights

from minilm.errors import InputError
from minilm.examples.labels import IGNORED
from minilm.jobs import finetune as job
from minilm.jobs.augmenting import augmenter, neighbours_of
from minilm.jobs.finetune import FinetuneOptions, finetune, load_material
from minilm.jobs.finetune_options import LittleData
from minilm.jobs.labelled_data import Columns
from minilm.jobs.little_data import second_task_of, unlabelled_texts
from minilm.jobs.pretrain import pretrain
from minilm.models.adaptation import Adaptation
from minilm.pretrained.protocol import open_classifier, open_pretraining
from minilm.text import corpus
from minilm.text.tagged import TaggedLine
from minilm.training import self_training
from minilm.training.self_training import APART
from minilm.training.supervised import Recipe
from minilm.training.text_tasks import TextTask

REVIEWS = str(DATA / "reviews.csv")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    options = tiny.options(tmp_path_factory.mktemp("little"), steps=1, evaluations=1)
    pretrain(options, silent)
    return options.out


def options(book, out, **changes):
    given = dict(data=REVIEWS, model=str(book), out=out, truncate=True, recipe=Recipe(epochs=1), progress=False)
    return FinetuneOptions(**given | dict(labels=16, held_out=12) | changes)


@pytest.fixture
def tags(tmp_path):
    """A second task: 12 lines of tagged words."""
    path = tmp_path / "names.conll"
    lines = [
        f"the O\nfilm O\nby O\n{name} B-PER\n" for name in "abel bea carl dora emil fay gil hal ida jan kay lou".split()
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("way", ["word-dropout", "neighbours", "masked-lm"])
def test_an_augmented_fit_is_another_one_and_the_pretrained_model_stays(way, book, tmp_path):
    before, found = weights(book), []
    for name, little in (("plain", LittleData()), ("a", LittleData(way)), ("b", LittleData(way))):
        finetune(options(book, tmp_path / name, little=little), silent)
        found.append(weights(tmp_path / name))
    assert tiny.same(found[1], found[2]) and not tiny.same(found[0], found[1])
    assert tiny.same(before, weights(book))


def test_neighbours_are_words_for_words_and_pieces_for_pieces(book):
    loaded = open_pretraining(book)
    tokenizer, table = loaded.tokenizer, loaded.model.encoder.token_table.weight.detach()
    found, vocabulary = neighbours_of(table, tokenizer), tokenizer.backend.get_vocab()
    kind = {i: token.startswith("##") for token, i in vocabulary.items()}
    for i in set(vocabulary.values()) - {*tokenizer.special_ids}:
        assert all(kind[j] == kind[i] and j != i and j not in tokenizer.special_ids for j in found[i].tolist())
    nothing = augmenter("", 0.1, 0, tokenizer, loaded.model, str(book))
    assert nothing is None


def test_F25_guesses_are_drawn_with_the_probabilities_of_the_pretrained_model(book):
    loaded = open_pretraining(book)
    tokenizer, model = loaded.tokenizer, loaded.model.eval()
    row = torch.tensor([tokenizer.pair(tokenizer.ids(["the old man"])[0])[0]])
    batch = job.Dataset({"input_ids": row.tolist(), "labels": [0]}, {"input_ids": 0}, [0]).batch([0] * 6000)
    change = augmenter("masked-lm", 0.999, 3, tokenizer, model, str(book))
    drawn = change(batch).input_ids[:, 1]
    masked = row.clone()
    masked[0, 1:-1] = tokenizer.mask
    with torch.no_grad():
        logits = model(masked, masked=torch.tensor([1])).mlm_logits[0]
    logits[tokenizer.special_ids] = -torch.inf
    wanted = logits.softmax(0)
    shares = torch.bincount(drawn, minlength=len(wanted)) / len(drawn)
    assert ((shares - wanted).abs() < 5 * (wanted / len(drawn)).sqrt() + 2e-3).all()
    assert not set(drawn.tolist()) & {*tokenizer.special_ids}


def test_self_training_never_sees_a_test_text_or_a_label(book, tmp_path, monkeypatch):
    """All texts of the data are offered again, without labels: only those remain that are neither measured nor labelled."""
    seen, said = [], []
    fit = job.fit
    monkeypatch.setattr(
        job, "fit", lambda model, train, *rest, **how: seen.append(train) or fit(model, train, *rest, **how)
    )
    given = options(book, tmp_path / "out", little=LittleData(unlabelled=REVIEWS, confidence=0.5), development=4)
    finetune(given, said.append)
    material = load_material(given)
    tokenizer = open_pretraining(book).tokenizer
    encode = lambda part: {tuple(row) for row in material.task.encode(part, tokenizer, 24, truncate=True).rows}  # noqa: E731
    labelled, test = encode(material.train.examples), encode(material.test.examples)
    teacher, student = ([tuple(row) for row in train.rows] for train in seen)
    assert len(teacher) == 12 and student[:12] == teacher and not {*student} & test
    assert not {*student[12:]} & labelled, "the development part is among them"
    every = corpus.labelled(REVIEWS)
    assert len(student) - 12 == len(every) - 16 - 12 and IGNORED not in seen[1].labels
    part = unlabelled_texts(given, material.task, tokenizer, [material.train, material.test])
    assert all(example.label is None for example in part.examples)
    assert any("that are among the labelled ones, and are left out" in line for line in said)


def test_the_confidence_is_a_threshold(book, tmp_path):
    said = []
    finetune(options(book, tmp_path / "out", little=LittleData(unlabelled=REVIEWS, confidence=1.0)), said.append)
    assert any("the first model is sure of 0 of" in line for line in said)
    lines = tmp_path / "lines.txt"
    lines.write_text("a fine film\n\nthe old man\n \u200b\n", encoding="utf-8")
    given, notes = options(book, tmp_path / "no", little=LittleData(unlabelled=str(lines))), []
    part = unlabelled_texts(given, TextTask(("a", "b")), open_pretraining(book).tokenizer, [], notes.append)
    assert [example.text for example in part.examples] == ["a fine film", "the old man"]
    assert notes == [f"1 line(s) of {lines} have invisible characters alone, and are left out."]


# ---- taggers that learn where several agree


def free_lines(tmp_path, name="free.txt"):
    """Sixteen sentences without tags, one of them labelled in `tags`, and one that is measured there or learned from."""
    path = tmp_path / name
    names = "max moe ned ora pat ray sue tom ula vic wes xia yul zoe".split()
    path.write_text("\n\n".join(f"the film by {name}" for name in [*names, "abel", "lou"]), encoding="utf-8")
    return path


def tagger(book, tags, out, **changes):
    given = dict(data=tags, labels=None, held_out=3, truncate=False, crf=True, recipe=Recipe(epochs=5, batch=4))
    return options(book, out, **given | changes)


def test_a_tagger_learns_from_the_lines_on_which_its_teachers_agree(book, tags, tmp_path, monkeypatch):
    fits, said, fit = [], [], job.fit
    monkeypatch.setattr(
        job,
        "fit",
        lambda m, d, recipe, seed, *r, **k: fits.append((m, d, recipe, seed)) or fit(m, d, recipe, seed, *r, **k),
    )
    little = LittleData(unlabelled=str(free_lines(tmp_path)), teachers=2, student_epochs=2)
    finetune(tagger(book, tags, tmp_path / "out", little=little, seed=7), said.append)
    assert [(recipe.epochs, seed) for _, _, recipe, seed in fits] == [(5, 7), (5, 7 + APART), (2, 7)]
    (one, labelled, _, _), (two, again, _, _), (student, learn, _, _) = fits
    assert len({id(one), id(two), id(student)}) == 3 and labelled is again and len(labelled) == 9
    what = "lines without tags to which 2 models gave the same tags: "
    agreed = next(line for line in said if what in line)
    count = int(agreed.split(what)[1].split()[0])
    assert f"{count} of 14 ({4 * count} words), from which a new one learns as well." in agreed and count > 0
    assert agreed.removeprefix("note: ") in (tmp_path / "out" / "notes.txt").read_text(encoding="utf-8").split("\n")
    steps = json.loads((tmp_path / "out" / "metrics.jsonl").read_text(encoding="utf-8"))["step"]
    assert steps == 2 * 5 * 3 + 2 * -(-(18 + count) // 4)  # of all three fits
    assert learn.rows[:18] == 2 * labelled.rows and len(learn) == 18 + count  # five epochs of two each: twice
    assert any("that are among the labelled ones, and are left out: 2 of 16." in line for line in said)
    opened = open_classifier(tmp_path / "out").model
    assert tiny.same(dict(opened.state_dict()), dict(student.state_dict()))
    finetune(tagger(book, tags, tmp_path / "again", little=little, seed=7), silent)
    assert tiny.same(weights(tmp_path / "out"), weights(tmp_path / "again"))


def test_a_tagger_reads_untagged_lines_of_every_kind_in_its_own_units(book, tags, tmp_path):
    free_lines(tmp_path)
    (tmp_path / "free.csv").write_text("text\nthe film by max\n", encoding="utf-8")
    (tmp_path / "free.conll").write_text("the X\nfilm Y\nby Z\nmax Q\n", encoding="utf-8")
    tokenizer, found = open_pretraining(book).tokenizer, []
    for name in ("free.txt", "free.csv", "free.conll"):
        given = tagger(book, tags, tmp_path / "out", little=LittleData(unlabelled=str(tmp_path / name)))
        task = load_material(given).task
        part = unlabelled_texts(given, task, tokenizer, [])
        found.append(part.examples[0])
        assert {tag for line in part.examples for tag in line.tags} == {task.labels[0]}
    assert found == [TaggedLine(["the", "film", "by", "max"], 4 * [task.labels[0]])] * 3
    for text, says in {
        "a O\nb O\nc O\n": r"free\.txt has a tag for every word",
        "a/DT b/NN c/IN d/NN e/VB f/NN\n": r"free\.txt has a tag for every word",
        "张三 去了 北京\n": r"vocabulary knows nothing of .*free\.txt: give texts in its language with --unlabelled",
        "\n \u200b\n": r"free\.txt holds no text that can be seen: write one text per line",
        "the film by abel\n": r"every text of .*free\.txt is among the labelled ones",
    }.items():
        (tmp_path / "free.txt").write_text(text, encoding="utf-8")
        given = tagger(book, tags, tmp_path / "out", little=LittleData(unlabelled=str(tmp_path / "free.txt")))
        with pytest.raises(InputError, match=says):
            finetune(given, silent)
        assert not (tmp_path / "out").exists()
    columns = Columns(pair_column="pair")
    (tmp_path / "two.csv").write_text("text,pair\nthe film,by max\n", encoding="utf-8")
    given = tagger(
        book, tags, tmp_path / "out", little=LittleData(unlabelled=str(tmp_path / "two.csv")), columns=columns
    )
    with pytest.raises(InputError, match=r"text 1 of .*two\.csv has a second text, and a tagger reads single ones"):
        finetune(given, silent)


def test_a_tagger_whose_teachers_agree_on_nothing_learns_from_the_labelled_lines(book, tags, tmp_path, monkeypatch):
    said, fits, fit, answers = [], [], job.fit, iter([[["O"]] * 14, [["B-PER"]] * 14])
    monkeypatch.setattr(self_training, "predicted_tags", lambda *_: next(answers))
    monkeypatch.setattr(job, "fit", lambda m, d, *r, **k: fits.append(d.rows) or fit(m, d, *r, **k))
    little = LittleData(unlabelled=str(free_lines(tmp_path)), teachers=2)
    finetune(tagger(book, tags, tmp_path / "out", little=little), said.append)
    assert any(
        "gave the same tags: 0 of 14 (0 words), so nothing is added to what a new one learns" in line for line in said
    )
    assert fits == [fits[0], fits[0], 2 * fits[0]]


@pytest.mark.parametrize("offered", ["words.conll", "lines.txt"])
def test_a_measured_line_is_left_out_whatever_the_units_into_which_it_is_cut(offered, book, tmp_path):
    """The tagger reads characters and f(x); the same lines are offered in words, and as text that its rule splits otherwise."""
    tokens = {"words.conll": ["the", "film", "by"], "lines.txt": ["the", "film", ",", "f(x)"]}[offered]
    names = "abel bea carl dora emil fay gil hal ida jan kay lou".split()
    lines = [[*tokens, name] for name in names]
    own = [[*"".join(line)] for line in lines] if offered == "words.conll" else lines
    data, free = tmp_path / "own.conll", tmp_path / offered
    data.write_text(
        "\n\n".join("\n".join(f"{t} O" for t in line) for line in own).replace(" O", " B-PER", 1), encoding="utf-8"
    )
    if offered == "words.conll":
        free.write_text("\n\n".join("\n".join(f"{t} X" for t in line) for line in lines), encoding="utf-8")
    else:
        free.write_text("\n".join(map(" ".join, lines)), encoding="utf-8")
    given = tagger(book, str(data), tmp_path / "out", little=LittleData(unlabelled=str(free)))
    material, notes = load_material(given), []
    with pytest.raises(InputError, match="every text of .* is among the labelled ones"):
        unlabelled_texts(
            given, material.task, open_pretraining(book).tokenizer, [material.train, material.test], notes.append
        )
    assert any("are left out: 12 of 12" in note for note in notes)
    part = unlabelled_texts(given, material.task, open_pretraining(book).tokenizer, [material.test])
    assert len(part.examples) == 12 - 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("free.html", "is not plain text, which a model would learn as text: save it as plain text"),
        ("free.json", "is not plain text, which a model would learn as text: write one object per line"),
        ("free.conll", "has a tag for every word, which a model would learn as text: write the words alone"),
        ("free.txt", "has a tag for every word"),
        (".", "is a folder: give one file with --unlabelled"),
    ],
)
def test_a_classifier_does_not_learn_from_tags_or_pages_as_if_they_were_text(name, says, book, tmp_path):
    path = tmp_path / name
    if name != ".":
        path.write_text("the O\nfilm O\nabel B-PER\n", encoding="utf-8")
    with pytest.raises(InputError, match=says):
        finetune(options(book, tmp_path / "out", little=LittleData(unlabelled=str(path))), silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        dict(seed=2**32 - 1),
        dict(development=3, recipe=Recipe(epochs=2, batch=4, patience=1)),
        dict(adaptation=Adaptation("low-rank")),
        dict(recipe=Recipe(epochs=1, batch=4)),
    ],
)
def test_a_taggers_self_training_goes_with_the_other_switches(changes, book, tags, tmp_path):
    said = []
    little = LittleData(unlabelled=str(free_lines(tmp_path)), teachers=2)
    finetune(tagger(book, tags, tmp_path / "out", little=little, **changes), said.append)
    assert any("2 models gave the same tags" in line for line in said)
    epochs = [line.split(",")[0] for line in said if "development loss" in line]
    assert [*dict.fromkeys(epochs)] == ["model 1", "model 2", "model 3"] * ("development" in changes)


def test_F28_a_second_task_is_learned_beside_the_first_and_written_beside_it(book, tags, tmp_path):
    said = []
    finetune(options(book, tmp_path / "out", little=LittleData(second=tags)), said.append)
    first, second = open_classifier(tmp_path / "out").model, open_classifier(tmp_path / "out" / "second").model
    assert first.labels == ("negative", "positive") and set(second.labels) == {"O", "B-PER"}
    a, b = (dict(model.encoder.named_parameters()) for model in (first, second))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    finetune(options(book, tmp_path / "plain"), silent)
    alone = dict(open_classifier(tmp_path / "plain").model.encoder.named_parameters())
    assert any(not torch.equal(a[name], alone[name]) for name in a)
    assert any(line.startswith("second task, on 3 held-out examples") for line in said)


def test_F28_the_second_task_does_not_learn_what_the_first_is_measured_on(book, tmp_path):
    given = options(book, tmp_path / "out", little=LittleData(second=REVIEWS), held_out=12, seed=3)
    material = load_material(given)
    tokenizer = open_pretraining(book).tokenizer
    model = job.new_model(given, material.task, tokenizer)
    held = material.train._replace(examples=material.train.examples[:5])  # as if they were measured
    said = []
    second = second_task_of(given, model, tokenizer, held, said.append)
    rows = {tuple(row) for row in material.task.encode(held.examples, tokenizer, 24, truncate=True).rows}
    shown = {tuple(row[row > 0].tolist()) for step in range(10) for row in second.task.batch_at(step).input_ids}
    assert shown and not shown & rows and any("5 examples of" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            dict(little=LittleData("neighbours"), model="scratch", tokenizer=DATA),
            "--augment neighbours needs a pretrained",
        ),
        (
            dict(little=LittleData("word-dropout"), data="tweets"),
            "--augment is for labels of whole texts, and tweets has",
        ),
        (dict(little=LittleData(unlabelled="imdb"), task="number"), "--unlabelled is for one class per text or tagged"),
        (
            dict(little=LittleData(unlabelled="imdb", confidence=0.9), data="tweets"),
            "--confidence is for one class per text; a tagger learns where --teachers agree",
        ),
        (
            dict(little=LittleData(unlabelled="imdb"), data="tweets", recipe=Recipe(patience=1)),
            "the new tagger reads the labelled ones several times, .* add --development N",
        ),
        (
            dict(little=LittleData(unlabelled="imdb", teachers=2)),
            "--teachers is for tagged words; for one class per text",
        ),
        (dict(little=LittleData(unlabelled="imdb", student_epochs=1)), "--student-epochs is for tagged words"),
        (
            dict(little=LittleData(unlabelled="imdb", student_epochs=2), data="tweets"),
            "--student-epochs 2 is more than the teachers' own --recipe.epochs 1: give fewer",
        ),
        (
            dict(little=LittleData(second="tweets"), adaptation=Adaptation("low-rank")),
            "--second trains the whole encoder",
        ),
        (dict(little=LittleData(second="tweets"), recipe=Recipe(head_only=True)), "--second trains the encoder, and"),
        (dict(little=LittleData(second="tweets", unlabelled="imdb")), "--second and --unlabelled do not go together"),
        (dict(data="tweets", crf=True, recipe=Recipe(class_weights=True)), "class weights are not for a CRF"),
    ],
)
def test_switches_that_contradict_other_options_are_one_sentence(changes, says, tmp_path):
    with pytest.raises(InputError, match=says):
        options("book", tmp_path / "out", **changes)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--augment-share", 0, "augment_share must be above 0 and at most 1, not 0.0"),
        ("--confidence", 1.5, "confidence must be above 0 and at most 1, not 1.5"),
        ("--confidence", 0.8, "--confidence is for --unlabelled: give texts without labels"),
        ("--teachers", 0, "teachers must be from 1 to 100, not 0"),
        ("--teachers", 3, "--teachers is for --unlabelled"),
        ("--student-epochs", 10**5, "student_epochs must be from 1 to 10,000, not 100,000"),
        ("--second-weight", -1, "second_weight must be above 0, not -1.0"),
    ],
)
def test_a_number_outside_its_range_is_one_sentence(option, value, says, capsys):
    assert command("finetune", "--data", "x", "--model", "y", option, value) == 2
    assert says in capsys.readouterr().err
