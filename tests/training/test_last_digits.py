"""A run is resumed with the library that multiplied before, or refused in one sentence."""

from dataclasses import replace

import pytest
import tiny
from tiny import same, silent, weights

from minilm.errors import InputError
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.jobs.pretrain import pretrain
from minilm.layers import products as module
from minilm.layers.products import has_onednn, products
from minilm.training.last_digits import check_products, check_team_products
from minilm.training.state import load_state
from minilm.training.team import Team

needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this PyTorch has no oneDNN that multiplies (2026-11-27)")


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A function that stops a run by Ctrl-C, with products by this library, and returns its options to resume it."""

    def stop(name):
        options = tiny.options(tmp_path, out=tmp_path / name)
        with monkeypatch.context() as patch, products(name), pytest.raises(KeyboardInterrupt):
            tiny.ctrl_c_at(patch, PretrainingBatches, 5)
            pretrain(options, silent)
        assert load_state(options.out)[1]["products"] == name
        return replace(options, resume=True)

    return stop


@needs_onednn
@pytest.mark.parametrize(("was", "now"), [("torch", "onednn"), ("onednn", "torch")])
def test_another_library_is_refused_and_the_same_one_goes_on_bit_for_bit(was, now, stopped, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 0)
    options = stopped(was)
    before = weights(options.out)
    monkeypatch.setenv("MINILM_PRODUCTS", now)
    sentence = f"{was} was started with products by {was} and is resumed with products by {now}: put MINILM_PRODUCTS={was} in front"
    with pytest.raises(InputError, match=sentence):
        pretrain(options, silent)
    assert same(weights(options.out), before)
    monkeypatch.setenv("MINILM_PRODUCTS", was)
    pretrain(options, silent)
    pretrain(replace(options, out=tmp_path / "whole", resume=False), silent)
    assert same(weights(options.out), weights(tmp_path / "whole"))


@needs_onednn
def test_a_state_that_does_not_say_it_counts_as_torch(tmp_path):
    old = {}, {"threads": 1}
    assert check_products(tmp_path, old) == check_products(tmp_path, None) == {"products": "torch"}
    with products("onednn"):
        assert check_products(tmp_path, None) == {"products": "onednn"}
        with pytest.raises(
            InputError, match="was started with products by torch and is resumed with products by onednn"
        ):
            check_products(tmp_path, old)


@pytest.mark.parametrize("entry", ["cublas", 7, None, ["torch"]])
def test_a_library_that_is_not_known_is_refused(entry, tmp_path):
    with pytest.raises(InputError, match="begin again in another --out"):
        check_products(tmp_path, ({}, {"products": entry}))


@pytest.mark.parametrize(("others", "refused"), [(0, False), (1, True), (2, True), (3, False)])
def test_all_processes_of_a_team_multiply_by_the_same_library(others, refused, monkeypatch):
    """`others` of the three processes use oneDNN."""
    monkeypatch.setattr(Team, "total", lambda team, own: own * 0 + others)
    if refused:
        with pytest.raises(
            InputError, match=f"{others} of 3 processes multiply by onednn: set MINILM_PRODUCTS to the same"
        ):
            check_team_products(Team(1, 3))
    else:
        check_team_products(Team(1, 3))
