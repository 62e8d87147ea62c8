"""The page as a file: one file, small, from nowhere else, and a text in it stays text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
import tiny
from explored import ATTACKS, page
from hypothesis import given, settings, strategies as st

from minilm.errors import InputError
from minilm.explorer import document
from minilm.explorer.document import data_of, page_of
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.pretrained.protocol import save_model


class Reader(HTMLParser):
    """The tags of a page, and what stands in each of its scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.raw, self.inside = [], [], {"script": [], "style": []}, None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag in self.raw:
            self.raw[tag].append("")
            self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None if tag == self.inside else self.inside

    def handle_data(self, data):
        if self.inside:
            self.raw[self.inside][-1] += data


def test_the_page_is_one_file_that_fetches_nothing(subjects):
    found = Reader(page(subjects["book"], "the old hen"))
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    outside = [
        (tag, name, value) for tag, name, value in found.attributes if name in ("src", "href", "srcset", "action")
    ]
    assert outside == [("link", "href", "data:,"), ("a", "href", "#main")]
    assert "url(" not in found.raw["style"][0] and "@import" not in found.raw["style"][0]
    assert "import(" not in found.raw["script"][1] and "innerHTML" not in found.raw["script"][1]


def test_the_policy_names_the_script_and_the_style_by_their_hashes(subjects):
    found = Reader(page(subjects["book"], "the old hen"))
    (policy,) = [value for tag, name, value in found.attributes if name == "content" and "default-src" in value]
    for kind, text in (("script", found.raw["script"][1]), ("style", found.raw["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "connect-src 'none'" in policy and "unsafe" not in policy
    live = Reader(page(subjects["book"], live=True))
    assert any("connect-src 'self'" in (value or "") for _, _, value in live.attributes)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_text_of_html_stays_text(subjects, attack):
    found = Reader(page(subjects["book"], attack))
    assert found.tags == Reader(page(subjects["book"], "the old hen")).tags
    assert json.loads(found.raw["script"][0])["texts"][0]["text"] == attack
    assert "<" not in found.raw["script"][0]


@pytest.mark.parametrize("attack", ATTACKS[:4])
def test_a_folder_whose_name_is_html_stays_text(subjects, attack):
    subject = type(subjects["book"])(subjects["book"].folder, subjects["book"].loaded, attack, attack)
    found = Reader(page(subject, "the old hen"))
    assert found.tags == Reader(page(subjects["book"], "the old hen")).tags


@given(st.text())
@settings(max_examples=200)
def test_any_text_comes_out_of_the_page_as_it_went_in(text):
    text = text.encode("utf-8", "replace").decode()
    data = {"name": text, "headline": text, "live": False, "texts": [text]}
    found = Reader(page_of(data))
    assert json.loads(found.raw["script"][0]) == data and len(found.raw["script"]) == 2


def test_a_number_that_json_does_not_have_is_no_page(subjects):
    with pytest.raises(ValueError, match="not JSON compliant"):
        page_of({"name": "x", "headline": "y", "live": False, "loss": float("nan")})


def test_the_page_of_a_model_of_the_quickstarts_size_is_small(tmp_path, subjects):
    """The longest text that this model takes, with every word hidden in turn: the bar is 3 MB."""
    tokenizer = subjects["book"].tokenizer
    config = TransformerConfig(8192, 128, 3, 4, 512, 128, positions="relative")
    save_model(tmp_path / "model", BertForPretraining(config), tokenizer)
    from minilm.explorer.subject import open_subject

    text = " ".join(["a"] * 126)
    found = page(open_subject(tmp_path / "model"), text)
    assert len(json.loads(Reader(found).raw["script"][0])["texts"][0]["tokens"]) == 128
    assert 300_000 < len(found.encode()) < 3_000_000


def test_texts_and_pairs_must_be_as_many(subjects):
    with pytest.raises(InputError, match="there are 2 texts and 1 second texts"):
        data_of(subjects["book"], ("a", "b"), ("c",))
    with pytest.raises(InputError, match="there is no text to explore"):
        data_of(subjects["book"], ())


def test_scripts_are_all_of_the_folder():
    from importlib import resources

    names = {path.name for path in (resources.files("minilm.explorer") / "page").iterdir()}
    assert names == {f"{name}.js" for name in document.SCRIPTS} | {"style.css", "explorer.html"}


# ------------------------------------------------------------------------------- the command


def test_the_command_writes_the_page_and_says_what_is_absent(runs, tmp_path, capsys):
    out = tmp_path / "deep" / "page.html"
    command = ("explore", runs / "book", "--text", "the hen", "--text", "a dog", "--out", out)
    assert tiny.command(*command) == 0
    said = capsys.readouterr().out
    assert re.search(r"page\.html shows 5 views of book \(0\.\d MB\)", said)
    assert "without “Writing”: This model does not write" in said
    found = json.loads(Reader(out.read_text(encoding="utf-8")).raw["script"][0])
    assert [text["text"] for text in found["texts"]] == ["the hen", "a dog"] and not found["live"]


@pytest.mark.parametrize(
    ("folder", "more", "complaint"),
    [
        ("nowhere", ("--text", "a"), "there is no folder"),
        ("empty", ("--text", "a"), "is not a run folder: it has no config.json"),
        ("bare", ("--text", "a"), "has no model.safetensors"),
        ("book", (), "there is no text to explore"),
        ("book", ("--text", " "), "nothing that can be seen"),
        ("book", ("--text", "hen " * 10_000), "shorten it"),
        ("book", ("--text", "a", "--out", "."), "is a folder"),
        ("odd", (), "is not a record of the induction experiment"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(runs, tmp_path, monkeypatch, capsys, folder, more, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_bytes((runs / "book" / "config.json").read_bytes())
    (tmp_path / "bare" / "tokenizer.json").write_bytes((runs / "book" / "tokenizer.json").read_bytes())
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "results.json").write_text('{"records": [{"arm": 1}]}', encoding="utf-8")
    (tmp_path / "book").symlink_to(runs / "book")
    assert tiny.command("explore", folder, *more) == 2
    err = capsys.readouterr().err
    assert complaint in err and err.startswith("minilm: ") and err.count("\n") == 1
    assert not (tmp_path / "explorer.html").exists()
