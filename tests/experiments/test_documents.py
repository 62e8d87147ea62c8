"""`minilm documents`: all five programs at a tiny size, their tables, the page in both forms, and bad input.  F08, F17, F28–F31."""

import csv
import inspect
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import talk
import tiny
import torch
from pages import NOTEBOOKS, TOP
from sklearn.metrics import classification_report
from tiny import DATA, command, silent

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.experiments.dialogue import DialogueOptions
from minilm.experiments.documents import data, options as settings, page, programs, run, story, tables
from minilm.experiments.documents.options import DocumentsOptions
from minilm.experiments.documents.page import Code, Heading, Table, Words, as_html, as_markdown, rich
from minilm.experiments.documents.printed import DOCUMENTS
from minilm.experiments.documents.printed_tables import D2_TABLE, D3_LOSSES, D4_ROWS, MAPS
from minilm.experiments.documents.quoted import QUOTED, SAID
from minilm.files.checksums import unseal
from minilm.files.tensors import read_safetensors, write_tensors
from minilm.jobs.pretrain import pretrain
from minilm.text import corpus
from minilm.text.files import Example
from minilm.training.entity_report import label_rows

ALL = ("D0", "D1", "D2", "D3", "D4")
D2_ROWS = "B-PER I-PER O B-LOC I-LOC B-MISC I-MISC O".split() + ["macro avg", "weighted avg"]
D4_TAGS = "B-LOC I-LOC B-MISC I-MISC B-ORG I-ORG B-PER I-PER O".split()
REPORT = [f"{name}: {who}" for name in ("precision", "recall", "f1-score", "support") for who in ("printed", "here")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two tiny pretrained models, and the files that the programs read, made from the texts in data/."""
    folder = tmp_path_factory.mktemp("documents")
    for name, text in (("en", "english"), ("zh", "chinese")):
        changes = dict(units="characters") if name == "zh" else {}
        sizes = dict(out=folder / name, cache=folder / "cache", corpus=str(DATA / f"{text}.txt"), length=64)
        pretrain(tiny.options(folder, **sizes | changes), silent)
    files = folder / "data"
    files.mkdir()
    shutil.copyfile(DATA / "english.txt", files / "reviews.txt")
    examples = corpus.labelled(DATA / "reviews.csv")
    for name, part in {"train": examples[:40], "development": examples[40:50], "test": examples[50:]}.items():
        (files / f"sentences-{name}.csv").write_text(data.table_of(part), encoding="utf-8")
    lines = corpus.tagged(DATA / "entities-zh.conll")
    for name, part in {"train": lines[:26], "test": lines[26:]}.items():
        (files / f"newspaper-{name}.conll").write_text(data.columns_of(part), encoding="utf-8")
    talk.write(folder / "talk.txt", 80)
    return folder


@pytest.fixture(scope="module")
def result(world):
    """A whole run with two seeds, and what it said."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DocumentsOptions, "conversations", lambda self: conversations(world))
        records = run.documents(given(world), said.append)
    return records, "\n".join(said)


TINY = object()  # a folder with a config.json


def given(world, **changes) -> DocumentsOptions:
    out = world / "out"
    if not out.exists():
        shutil.copytree(world / "data", out / "data")
    documents = changes.get("documents", ("D0", "D4"))
    starts = dict(model=world / "en") if {"D0", "D3"} & {*documents} else {}
    starts |= dict(model_zh=world / "zh") if "D4" in documents else {}
    fixed = dict(out=out, cache=world / "cache") | starts
    return DocumentsOptions(**fixed | dict(seeds=2, share=0.01, workers=1, progress=False) | changes)


def conversations(world) -> DialogueOptions:
    sizes = dict(vocab_size=120, width=12, heads=3, layers=1, length=48, batch=8, held_out=16, answers=12, steps=9)
    return DialogueOptions(corpus=str(world / "talk.txt"), cache=world / "cache", progress=False, **sizes)


def of(records, name):
    return [record for record in records if record["document"] == name]


# ---------------------------------------------------------------------------------------------- the programs


def test_every_program_runs_and_is_measured(result):
    records, said = result
    assert [(r["document"], r["seed"]) for r in records] == [
        *(("D0", 0), ("D0", 1), ("D1", 0), ("D2", 0), ("D3", 0), ("D3", 1), ("D4", 0), ("D4", 1))
    ]
    for record in of(records, "D0"):
        assert 0 <= record["accuracy"] <= 1 and record["labels"] == 20 and record["majority"] >= 0.5
    (d1,) = of(records, "D1")
    assert (
        all(0 < d1[name] < 8 for name in ("loss", "printed_loss", "every_place", "frequency_loss"))
        and d1["epochs"] == 1
    )
    assert d1["loss"] != d1["printed_loss"]
    (d2,) = of(records, "D2")
    assert d2["perplexity"] > 1 and d2["bigram"] > 1 and d2["answers"] == 12 and len(d2["written"]) == 5
    assert np.array([r["losses"] for r in of(records, "D3")]).shape == (2, 5, 2)
    tags = {row[0] for row in of(records, "D4")[0]["rows"]}
    assert {"B-LOC", "I-LOC", "B-ORG", "B-PER", "O", "micro average"} <= tags
    assert said.count(", seed ") == len(records) and "report.html" in said


def test_a_finished_run_is_not_run_again(result, world, monkeypatch):
    def never(*_):
        raise AssertionError("it was run again")

    monkeypatch.setattr(run, "measure", never)
    again = run.documents(given(world), silent)
    assert again == result[0]
    with pytest.raises(AssertionError, match="run again"):
        run.documents(given(world, share=0.02, documents=("D3",)), silent)
    with pytest.raises(AssertionError, match="run again"):
        run.documents(given(world, again=True, documents=("D3",)), silent)


def test_F08_the_same_seed_gives_the_same_losses_and_another_gives_others(world, result):
    parts = [world / "data" / f"sentences-{name}.csv" for name in ("train", "development")]
    again = programs.d3(world / "en", *parts, 8, 0)
    assert [list(pair) for pair in again] == of(result[0], "D3")[0]["losses"] != of(result[0], "D3")[1]["losses"]


def test_F17_the_model_is_the_documents_own():
    """Embedding(1000, 64), two LSTMs of 128 and 1,000 outputs: 423,400 parameters."""
    source = inspect.getsource(programs.d1)
    assert "embedding=64, hidden=128, layers=2" in source and "size=64" in source and "length=51" in source
    sizes = programs.LSTMConfig(1000, embedding=64, hidden=128, layers=2)
    assert sum(p.numel() for p in programs.LSTMLanguageModel(sizes).parameters()) == 423_400


class Echo(torch.nn.Module):
    """A language model that finds the token it has just read most probable."""

    def forward(self, input_ids, attention_mask=None):
        return torch.nn.functional.one_hot(input_ids, 7).float()


def test_F23_the_next_token_is_that_of_the_next_place_and_padding_does_not_count():
    ids = torch.tensor([[5, 5, 3, 2, 0], [4, 1, 1, 1, 6]])
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]).bool()
    true, guessed = programs.next_tokens(Echo(), [Batch(ids, attention_mask=mask)])
    assert true.tolist() == [5, 3, 2, 1, 1, 1, 6] and guessed.tolist() == [5, 5, 3, 4, 1, 1, 1]
    labels = torch.tensor([[-100, -100, 3, -100, -100], [-100, -100, -100, 1, 6]])
    batch = replace(Batch(ids, attention_mask=mask), labels=labels)
    true, guessed = programs.next_tokens(Echo(), [batch])
    assert true.tolist() == [3, 1, 6] and guessed.tolist() == [5, 1, 1]


def test_F17_as_printed_one_token_per_row_counts():
    ids = torch.tensor([[5, 5, 3, 2, 0], [4, 1, 1, 1, 6]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    no = -100
    assert programs.last_alone(Batch(ids)).labels.tolist() == [[no, no, no, no, 0], [no, no, no, no, 6]]
    labels = programs.last_alone(Batch(ids, attention_mask=mask)).labels
    assert labels.tolist() == [[no, no, 3, no, no], [no, no, no, no, 6]]


@pytest.mark.parametrize("name", ALL)
def test_a_program_that_was_put_right_can_be_read_at_a_glance(name):
    lines = story.source_of(name).splitlines()
    assert lines[0].startswith(f"def {name.lower()}(") and len(lines) <= 28
    assert max(map(len, lines)) <= 118


# ---------------------------------------------------------------------------------------------- the tables


def test_F30_the_tables_have_the_rows_and_columns_of_the_documents(result):
    records = result[0]
    d0 = tables.accuracy_table(of(records, "D0"))
    assert d0.head == ["", "printed", "here"] and [row[:2] for row in d0.rows] == [["Accuracy", "0.92"]]
    d1 = tables.next_token_table(of(records, "D1"))
    assert [row[:2] for row in d1.rows] == [["Test Loss", "–"], ["Test Accuracy", "–"]]
    (record,) = of(records, "D1")
    assert d1.rows[0][2:] == [f"{record[f'{way}loss']:.3f}" for way in ("", "printed_", "frequency_")]
    d3 = tables.loss_table(of(records, "D3"))
    assert [row[0] for row in d3.rows] == [f"Epoch {i}" for i in range(1, 6)]
    assert [row[1] for row in d3.rows] == ["0.345", "0.300", "0.250", "0.200", "0.150"]
    assert [row[3] for row in d3.rows] == ["0.305", "0.275", "0.250", "0.225", "0.200"]
    d2, d4 = tables.dialogue_table(of(records, "D2")), tables.tag_table(of(records, "D4"))
    assert [row[0] for row in d2.rows] == D2_ROWS
    assert [row[0] for row in d4.rows] == [*D4_TAGS, "micro avg", "macro avg", "weighted avg"]
    assert list(d2.head) == list(d4.head) == ["", *REPORT]
    assert d2.rows[0][1::2] == ["0.923", "0.915", "0.920", "2,300"]
    assert d4.rows[0][1::2] == ["0.922", "0.906", "0.918", "1,668"] and d4.rows[-1][7] == "46,435"


def test_F30_a_row_that_the_data_does_not_have_is_a_dash(result):
    d2, d4 = tables.dialogue_table(of(result[0], "D2")), tables.tag_table(of(result[0], "D4"))
    assert all(set(row[2::2]) == {"–"} for row in d2.rows[:8]) and "–" not in d2.rows[8][2::2]
    missing = {row[0] for row in d4.rows if set(row[2::2]) == {"–"}}
    assert {"B-MISC", "I-MISC"} <= missing and not {"O", "B-PER", "micro avg", "macro avg"} & missing


def test_F30_the_report_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    tags = ["B-LOC", "O", "B-PER", "I-PER"]
    true, guessed = rng.integers(4, size=(2, 60))
    rows = [list(row) for row in label_rows(true, guessed, tags)]
    shown = tables.tag_table([{"rows": rows}, {"rows": rows}])
    wanted = classification_report(true, guessed, target_names=tags, output_dict=True)
    for name in [*tags, "macro avg", "weighted avg"]:
        (row,) = [row for row in shown.rows if row[0] == name]
        figures = [f"{wanted[name][key]:.3f}" for key in ("precision", "recall", "f1-score")]
        assert row[2:7:2] == figures and row[8] == f"{int(wanted[name]['support']):,}"


def test_F30_the_mean_over_seeds_counts_nothing_as_0_unless_it_is_always_nothing():
    reports = [[["A", None, 0.5, None, 3]], [["A", 0.8, 0.7, None, 3]]]
    (precision, recall, f1, support) = tables.means(reports)["A"]
    assert precision == pytest.approx(0.4) and recall == pytest.approx(0.6) and f1 is None and support == 3


def test_the_printed_tables_are_those_of_the_documents():
    assert len(D2_TABLE) == 10 and len(D4_ROWS) == 12 and len(D3_LOSSES) == 5
    assert {row[4] for row in D2_TABLE} == {2300} and sum(row[4] for row in D4_ROWS[:9]) == D4_ROWS[9][4] == 46_435


# ---------------------------------------------------------------------------------------------- the page


class Reader(HTMLParser):
    """Checks that every tag is closed, in order, and collects the texts, the ids and the links."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.ids, self.links, self.faults = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br", "path"):
            self.open.append(tag)
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []

    def handle_endtag(self, tag):
        if tag != "path" and (not self.open or self.open.pop() != tag):
            self.faults.append(tag)

    def handle_data(self, text):
        self.texts.append(text)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def test_the_page_is_well_formed_and_stands_alone(result, world):
    html = (world / "out" / "report.html").read_text(encoding="utf-8")
    reader = read(html)
    assert reader.faults == [] and reader.open == [] and html.startswith("<!doctype html>")
    assert {link.removeprefix("#") for link in reader.links} == {*ALL, "map"} == set(reader.ids)
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)|url\(|@import", html)
    assert "prefers-color-scheme: dark" in html and "@media print" in html and '<span lang="zh">' in html
    assert html.count("<svg") == 1 and html.count("<h2") == 6


def test_both_forms_of_the_page_say_the_same(result, world):
    markdown = (world / "out" / "report.md").read_text(encoding="utf-8")
    text = re.sub(r"\s+", "", "".join(read((world / "out" / "report.html").read_text(encoding="utf-8")).texts))
    for name in ALL:
        assert f"def {name.lower()}(" in markdown and DOCUMENTS[name].title in markdown
        for line in story.source_of(name).splitlines():
            assert line in markdown and re.sub(r"\s+", "", line) in text
        for fault in DOCUMENTS[name].faults:
            for words in fault[:3]:
                assert words.replace("|", "\\|") in markdown
                assert re.sub(r"[\s`]+", "", words) in text
    assert "![Concept map" in markdown and (world / "out" / "concept_map.svg").exists()
    for each in MAPS:
        assert each.wrong in markdown and re.sub(r"\s+", "", each.wrong) in text


def test_what_stands_in_the_data_cannot_become_html_or_break_a_table():
    nasty = '<script>alert("x")</script> & | `code <b>` 对话'
    blocks = [Heading(nasty), Words(nasty, nasty), Code(nasty), Table(["a", "here"], [[nasty, nasty]])]
    html = as_html(nasty, blocks)
    reader = read(html)
    assert reader.faults == [] and reader.open == [] and "<script" not in html and "<b>" not in html
    assert "".join(reader.texts).count('<script>alert("x")</script> & | ') == 8
    (row,) = [line for line in as_markdown("t", blocks).splitlines() if line.startswith("| <script")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert rich("a `x < 1` 对话。b") == 'a <code>x &lt; 1</code> <span lang="zh">对话。</span>b'


def test_the_page_of_two_documents_has_only_these(world, result, monkeypatch):
    blocks = story.story(("D0", "D3"), result[0], "nothing")
    anchors = [block.anchor for block in blocks if isinstance(block, Heading) and block.anchor]
    assert anchors == ["D0", "D3", "map"]
    assert page.as_markdown("t", blocks).count("### The program, put right") == 2


def test_the_sections_that_the_page_names_are_those_of_notebook_15():
    text = (NOTEBOOKS / "15_the_documents_programs.py").read_text(encoding="utf-8")
    named = {fault.section for document in DOCUMENTS.values() for fault in document.faults if fault.section}
    assert len(named) == 10 and all(f"# ## {section}  (" in text for section in named)
    assert "minilm documents" in text


def test_the_maps_and_the_quotations_are_complete():
    assert [each.where.split(" ")[0] for each in MAPS] == ["D0"] * 4 + ["D1", "D3", "D4"]
    assert set(QUOTED) == {f"F{n:02}" for n in (*range(1, 15), *range(23, 30), 37)} and set(SAID) <= {
        "F30",
        "F31",
        "F37",
    }


# ---------------------------------------------------------------------------------------------- data and options


def test_the_files_can_be_read_again(tmp_path):
    examples = [Example('a "quoted", text', "positive"), Example("plain", "negative")]
    (tmp_path / "a.csv").write_text(data.table_of(examples), encoding="utf-8")
    assert corpus.labelled(tmp_path / "a.csv") == examples
    assert list(csv.reader((tmp_path / "a.csv").open(encoding="utf-8")))[0] == ["text", "label"]
    lines = corpus.tagged(DATA / "entities-zh.conll")
    (tmp_path / "a.conll").write_text(data.columns_of(lines), encoding="utf-8")
    again = corpus.tagged(tmp_path / "a.conll")
    assert [(line.tokens, line.tags) for line in again] == [(line.tokens, line.tags) for line in lines]


def test_only_what_is_missing_is_written(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(data, "write_sentences", lambda folder, say: written.append("sentences"))
    monkeypatch.setattr(data, "write_newspaper", lambda folder, say: written.append("newspaper"))
    data.write_data(tmp_path, ["D2"], silent)
    assert written == []
    data.write_data(tmp_path, ["D3"], silent)
    data.write_data(tmp_path, ["D4"], silent)
    assert written == ["sentences", "newspaper"]
    for name in data.FILES:
        (tmp_path / name).touch()
    data.write_data(tmp_path, ALL, silent)
    assert written == ["sentences", "newspaper"]


def test_sentences_to_measure_on_are_in_no_other_part(tmp_path, monkeypatch):
    examples = [Example(" ".join(f"word{k}" for k in range(9 * i, 9 * i + 9)), "positive") for i in range(40)]
    monkeypatch.setattr(corpus, "labelled", lambda name: examples)
    monkeypatch.setattr(corpus, "documents", lambda name: [[examples[3].text]])
    monkeypatch.setattr(data, "SENTENCES", 10)
    monkeypatch.setattr(data, "DEVELOPMENT", 5)
    said = []
    data.write_sentences(tmp_path, said.append)
    parts = {}
    for name in ("train", "development", "test"):
        with (tmp_path / f"sentences-{name}.csv").open(encoding="utf-8") as file:
            parts[name] = [row["text"] for row in csv.DictReader(file)]
    assert len(parts["test"]) == 10 and len(parts["development"]) == 5
    together = sum(parts.values(), [])
    assert len(set(together)) == len(together) and examples[3].text not in together and "left out" in said[0]


def test_a_model_that_was_trained_again_at_the_same_place_is_another_one(world, tmp_path):
    shutil.copytree(world / "data", tmp_path / "out" / "data")
    shutil.copytree(world / "en", tmp_path / "en")
    options = given(world, documents=("D3",), model=tmp_path / "en", out=tmp_path / "out", seeds=1)
    first = run.documents(options, silent)
    assert run.documents(options, silent) == first
    weights = read_safetensors(tmp_path / "en" / "model.safetensors")
    write_tensors(tmp_path / "en" / "model.safetensors", {name: 1.5 * tensor for name, tensor in weights.items()})
    unseal(tmp_path / "en")
    (again,) = run.documents(options, silent)
    told = ("weights", "seconds")
    assert again["weights"] != first[0]["weights"]
    assert {k: v for k, v in again.items() if k not in told} != {k: v for k, v in first[0].items() if k not in told}


def test_without_a_model_one_is_pretrained_once(world, tmp_path, monkeypatch):
    recipe = tiny.options(tmp_path, cache=world / "cache", length=64)
    small = type("Small", (), {"pretraining": recipe})
    monkeypatch.setattr(settings, "track_for", lambda language: small)
    shutil.copytree(world / "data", tmp_path / "out" / "data")
    changes = dict(out=tmp_path / "out", model=None, documents=("D3",), seeds=1)
    records = run.documents(given(world, **changes), silent)
    assert [r["document"] for r in records] == ["en", "D3"] and records[0]["steps"] == 15
    folder = tmp_path / "out" / "pretrained" / "en-15-steps"
    assert records[1]["start"] == str(folder) and (folder / "config.json").exists()
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "were pretrained by this command on film reviews (D0, D3) for 15 steps" in text
    monkeypatch.setattr(run, "pretrain", None)
    assert run.documents(given(world, **changes), silent) == records
    stored = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert stored["records"] == records


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--share", 0], "share must be above 0"),
        (["--share", "nan"], "share must be above 0"),
        (["D4", "--share", 2.5], "at most 2"),
        (["--seeds", 0], "seeds"),
        (["--workers", 0], "workers"),
        (["--model", "nowhere"], "--model nowhere holds no model"),
        (["D0", "--model-zh", "nowhere"], "--model-zh nowhere holds no model"),
        (["D1", "D2", "--model", TINY], "--model means nothing to D1 and D2"),
        (["D3", "--model-zh", TINY], "--model-zh means nothing to D3"),
    ],
)
def test_bad_options_get_one_sentence(arguments, words, tmp_path, capsys):
    if TINY in arguments:
        (tmp_path / "config.json").write_text("{}", encoding="utf-8")
        arguments = [tmp_path if argument is TINY else argument for argument in arguments]
    assert command("documents", *arguments) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_document_that_does_not_exist_is_refused(capsys):
    assert command("documents", "D5") == 2
    assert "D5" in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused_in_python(tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        DocumentsOptions(model=tmp_path)


def test_the_tables_of_the_page_are_those_that_were_measured():
    measured = json.loads((TOP / "data" / "results" / "documents.json").read_text(encoding="utf-8"))
    text = (TOP / "minilm" / "experiments" / "README.md").read_text(encoding="utf-8")
    shown = (tables.accuracy_table, tables.next_token_table, tables.dialogue_table, tables.loss_table, tables.tag_table)
    for name, table in zip(ALL, shown, strict=True):
        assert table(of(measured, name)).markdown() in text, name


@pytest.mark.parametrize("saved", [False, True])
def test_a_pretraining_that_was_stopped_before_its_first_state_begins_again(saved, tmp_path):
    options = DocumentsOptions(out=tmp_path)
    state = options.start("en") / "training_state"
    (state / "step-00000000").mkdir(parents=True)
    if saved:
        (state / "latest.json").write_text("{}", encoding="utf-8")
    assert options.pretraining("en").resume == saved
