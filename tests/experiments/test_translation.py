"""`minilm translation` and `minilm translate`: what they measure, what they keep, and what they refuse."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from minilm.errors import InputError
from minilm.experiments import translation_rivals as rivals, translation_scores as scores, translation_tasks as tasks
from minilm.experiments.translation import ALONE, WITH, WITHOUT, TranslationOptions, translation
from minilm.files.notes import unheard
from minilm.jobs.translate import TranslateOptions, translate
from minilm.pretrained.protocol import open_model
from minilm.text.grammar import pairs
from minilm.text.parallel import likeness
from minilm.training.translation import align

LEARNT = [
    ("Open", "打开"),
    ("File:", "文件："),
    ("Open File", "打开文件"),
    ("Close %s now", "现在关闭 %s"),
    ("Tab", "标签页"),
]


# ------------------------------------------------------------------------------- rivals and scores


def test_looking_up_takes_the_longest_phrase_and_keeps_what_it_does_not_know():
    sources = ["open file", "Open tab", "FILE", "open %1 file…", "Unknown"]
    assert rivals.look_up(LEARNT, sources) == ["打开文件", "打开标签页", "文件", "打开%1文件…", "Unknown"]


def test_the_nearest_neighbour_gets_the_placeholders_of_the_source():
    assert rivals.nearest(LEARNT, ["Open Files", "Close %(name)s", "close"]) == [
        "打开文件",
        "现在关闭 %(name)s",
        "现在关闭 %s",
    ]


def test_the_beginnings_of_a_text():
    assert rivals.first_sentence([], ["今天下雨。明天晴。"]) == ["今天下雨。"]
    assert rivals.beginning([("", "三个字"), ("", "一")], ["今天下雨"]) == ["今天"]


def test_scores_are_those_of_sacrebleu_and_count_by_hand():
    data = [("Open %s", "打开 %s"), ("Close {a} {b}", "关闭 {a} {b}"), ("Tab", "标签页")]
    written = ["打开 %s", "关闭 {a}", "标签"]
    found = scores.translated(data, written)
    targets = [[target for _, target in data]]
    assert found[scores.CHRF] == CHRF().corpus_score(written, targets).score
    assert found[scores.BLEU] == BLEU(tokenize="zh").corpus_score(written, targets).score
    assert found[scores.EXACT] == pytest.approx(1 / 3) and found[scores.KEPT] == pytest.approx(2 / 3)
    assert np.isnan(scores.translated([("a", "甲")], ["甲"])[scores.KEPT])
    by_length = scores.exact_by_length(
        [("", "一"), ("", "一二三四五"), ("", "一二三四五六")], ["一", "一", "一二三四五六"]
    )
    assert by_length == {scores.EXACT: 2 / 3, "1–5 characters": 0.5, "6–10 characters": 1.0}


def test_rouge_counts_characters_in_common():
    found = scores.summarised([("", "今天下雨了")], ["今天大雨"])
    precision, recall = 3 / 4, 3 / 5
    assert found["ROUGE-1"] == pytest.approx(2 * precision * recall / (precision + recall)) == found["ROUGE-L"]
    assert found["ROUGE-2"] == pytest.approx(2 / (3 + 4))  # one of 3 pairs of characters, one of 4


def articles():
    """Articles as the newspaper has them: some without a headline, some too short, and one headline twice."""
    for i in range(600):
        headline = f"第{i // 2 * 2}号消息" if i < 4 else "".join(chr(0x4E00 + 7 * i + j) for j in range(6))
        yield [headline, f"本报北京一月{i}日电。", "".join(chr(0x5000 + 11 * i + j) for j in range(130))]
    yield ["没有标题。", "长" * 200]
    yield ["太短", "短"]


def test_the_tasks_have_parts_that_share_nothing(monkeypatch):
    monkeypatch.setattr(tasks.corpus, "documents", lambda name: articles())
    heard: list[str] = []
    for name, sizes in {"dates": (1000, 1000), "headlines": (300, 200)}.items():
        training, development, test = tasks.TASKS[name].parts(heard.append)
        assert (len(test), len(development)) == sizes and len(training) > 90
        held_out = [*development, *test]
        assert not {source for source, _ in training} & {source for source, _ in held_out}
        if name == "headlines":
            assert not {likeness(t) for _, t in training} & {likeness(t) for _, t in held_out}
            assert all(len(source) == 120 and len(target) in (5, 6) for source, target in [*training, *held_out])
    assert heard == ["600 articles have a headline; the model reads the first 120 characters of each."]


# ------------------------------------------------------------------------------- the whole run


def files(folder, data: Sequence[tuple[str, str]]):
    paths = folder / "numbers.en", folder / "numbers.zh"
    for path, side in zip(paths, zip(*data, strict=True), strict=True):
        path.write_text("\n".join(side) + "\n", encoding="utf-8")
    return paths


SIZES = ("--width", "12", "--layers", "1", "--heads", "3", "--no-progress", "--beams", "1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translation")
    source, target = files(folder, [pair for pair in pairs(160, 0) if "年" not in pair[1]])
    out = folder / "out"
    arguments = ["--source", str(source), "--target", str(target), "--steps", "3", "--compare"]
    assert tiny.command("translation", *arguments, *SIZES, "--out", str(out)) == 0
    return out


def test_it_writes_a_table_and_a_model_that_translates(run, capsys):
    rows = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert [(row["model"], row["seed"]) for row in rows] == [
        *(("dictionary look-up", 0), ("nearest neighbour", 0), (WITH, 0), (WITHOUT, 0), (ALONE, 0))
    ]
    assert all({scores.EXACT, scores.CHRF, scores.BLEU} <= row.keys() and scores.KEPT not in row for row in rows)
    assert (
        rows[2]["parameters"] > rows[3]["parameters"] > 0
        and rows[2]["steps"] == 3
        and rows[3]["recipe"]["copy"] is False
    )
    report = (run / "report.md").read_text(encoding="utf-8")
    assert f"| {WITH} |" in report and " → " in report
    best = max(rows[:2], key=lambda row: row[scores.CHRF])
    apart = rows[2][scores.CHRF] - best[scores.CHRF]
    where = "above" if apart >= 0 else "below"
    assert f"In chrF, the {WITH} stands {abs(apart):.1f} {where} the best of the others ({best['model']})." in report
    memory = json.loads((run / "model" / "memory.json").read_text(encoding="utf-8"))
    assert memory["neighbours"] == 2 and len(memory["pairs"]) == rows[0]["labels"]
    assert tiny.command("translate", str(run / "model"), "two hundred", "seven", "--tokens", "5") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_saved_model_is_the_one_that_was_measured_and_runs_repeat(run, tmp_path):
    source, target = run.parent / "numbers.en", run.parent / "numbers.zh"
    options = TranslationOptions(
        source=source, target=target, steps=3, beams=1, width=12, layers=1, heads=3, out=tmp_path, progress=False
    )
    rows = translation(options, tiny.silent)
    before = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert rows[2] | {"seconds": 0} == before[2] | {"seconds": 0}
    first, second = (open_model(folder / "model").model.state_dict() for folder in (run, tmp_path))
    assert all((first[name] == second[name]).all() for name in first)
    options = TranslateOptions(run / "model", ("two hundred", "one"), tokens=8)
    assert translate(options, tiny.silent) == translate(options, tiny.silent)


def test_the_alignment_has_a_row_for_each_token_that_is_written(run):
    loaded = open_model(run / "model")
    source, target, weights = align(loaded.model, loaded.tokenizer, "two hundred", "二百")
    assert "".join(source).replace("␣", " ") == "two hundred[SEP]" and target == ["二", "百", "[SEP]"]
    assert len(weights) == 1 and weights[0].shape == (3, len(target), len(source))
    np.testing.assert_allclose(weights[0].sum(-1), 1, atol=1e-6)


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (dict(beams=0), "beams must be at least 1"),
        (dict(label_smoothing=1.0), "label_smoothing must be from 0"),
        (dict(minutes=1.0, steps=5), "give --minutes or --steps"),
        (dict(minutes=0.0), "minutes must be a positive number"),
        (dict(width=10), "width 10 is not divisible by 4 heads"),
        (dict(dropout=1.0), "dropout 1.0 is not in"),
        (dict(learning_rate=0.0), "learning rate must be above 0"),
        (dict(source=Path("a")), "give --source and --target together"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_read(change, complaint):
    with pytest.raises(InputError, match=complaint):
        TranslationOptions(**change)


def test_bad_files_end_with_one_sentence(tmp_path, capsys):
    source, target = files(tmp_path, [("one", "一"), ("two", "二")])
    ask = ["translation", "--steps", "2", *SIZES, "--source", str(source), "--target", str(target)]
    assert tiny.command(*ask, "--out", str(tmp_path / "out")) == 2
    assert "2 pairs, of which 2 are different, cannot be split" in capsys.readouterr().err
    target.write_text("一\n", encoding="utf-8")
    assert tiny.command(*ask) == 2
    assert "numbers.en has 2 lines" in capsys.readouterr().err
    target.write_text("", encoding="utf-8")
    assert tiny.command(*ask) == 2
    assert "numbers.zh is empty" in capsys.readouterr().err


def test_folders_and_texts_that_do_not_fit_are_named(run, tmp_path, capsys):
    with pytest.raises(InputError, match="there is nothing to translate"):
        TranslateOptions(run / "model")
    assert tiny.command("translate", str(run / "model"), "") == 2
    assert "text 1 is empty: give a text, or leave it out" in capsys.readouterr().err
    assert tiny.command("translate", str(run / "model"), "one " * 600) == 2
    assert "and the model takes 512: shorten it" in capsys.readouterr().err
    assert tiny.command("generate", str(run / "model"), "one") == 2
    assert "holds a Seq2Seq, which writes no texts" in capsys.readouterr().err
    assert tiny.command("pretrain", "--architecture", "seq2seq") == 2
    assert "architecture 'seq2seq' is not known" in capsys.readouterr().err
    assert unheard("") is None
