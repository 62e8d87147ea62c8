"""Minimum Bayes risk: the score is sacrebleu's chrF, and the choice is the best of all by enumeration."""

import random
from collections import Counter

import pytest
import torch
from sacrebleu.metrics.chrf import CHRF

from minilm.models.initialisation import initialise
from minilm.models.seq2seq import Seq2Seq, Seq2SeqConfig
from minilm.text.parallel import learn_tokenizer
from minilm.training import translation
from minilm.training.agreement import likeness, most_agreed, runs
from minilm.training.translation import safest, translate_by_agreement


def texts(count, seed):
    draw = random.Random(seed)
    return ["".join(draw.choices("文件打开abc %1", k=draw.randint(0, 9))) for _ in range(count)]


def test_the_likeness_is_the_chrf_of_sacrebleu():
    chrf = CHRF()
    for one, other in zip(texts(300, 1), texts(300, 2), strict=True):
        assert 100 * likeness(runs(one), runs(other)) == pytest.approx(
            chrf.sentence_score(one, [other]).score, abs=1e-9
        )
    assert likeness(runs("打开文件"), runs("打开")) != likeness(runs("打开"), runs("打开文件"))  # recall counts more


def test_the_choice_is_the_best_of_all_candidates():
    chrf = CHRF()
    for seed in range(20):
        candidates, drawn = texts(6, seed), Counter(texts(9, 100 + seed))
        drawn[candidates[0]] += 3
        totals = [sum(w * chrf.sentence_score(c, [r]).score for r, w in drawn.items()) for c in candidates]
        chosen = most_agreed(candidates, drawn)
        assert totals[candidates.index(chosen)] == pytest.approx(max(totals), abs=1e-6)


def test_the_most_frequent_text_does_not_win_over_many_that_are_alike():
    drawn = {"关闭": 2, "打开文件": 1, "打开文件。": 1, "请打开文件": 1, "打开文件吧": 1}
    assert max(drawn, key=drawn.__getitem__) == "关闭" and most_agreed(list(drawn), drawn) == "打开文件"


def test_a_placeholder_is_never_lost():
    votes = Counter({"打开": 9, "打开 %1": 1})
    assert safest(["打开", "打开 %1"], votes, "Open %1") == "打开 %1"
    assert safest(["打开", "打开文件"], votes, "Open %1 in {name}") == "打开 %1 {name}"
    assert safest(["打开", "打开 %1"], votes, "Open") == "打开"


def test_the_translations_repeat_with_the_seed_and_a_hint_is_a_candidate_with_a_vote(monkeypatch):
    learnt = [("open file", "打开文件"), ("close %1", "关闭 %1"), ("tab", "标签")]
    tokenizer = learn_tokenizer(learnt, 300)
    model = Seq2Seq(Seq2SeqConfig(tokenizer.size, width=16, layers=1, heads=2, feed_forward=32, max_length=64))
    initialise(model, generator=torch.Generator().manual_seed(0))

    def call(**more):
        return translate_by_agreement(model, tokenizer, ["open tab", "close %1"], 5, max_new_tokens=6, **more)

    assert call() == call()
    monkeypatch.setattr(translation, "HINT", 100)
    assert call(hints=[["打开标签"], ["关闭 %1"]]) == ["打开标签", "关闭 %1"]
