"""Taken apart: abilities, worths against models with other weights, texts that are exchanged, and the judges.  F26, F36."""

import pytest
import torch
from judged import true_where_they_should
from tiny import command, silent

from minilm.errors import InputError
from minilm.examples.labels import IGNORED
from minilm.examples.next_sentence import IS_NEXT
from minilm.experiments.emergence import abilities, lab
from minilm.experiments.emergence.abilities import (
    Runs,
    names,
    next_sentence,
    opposite_sentences,
    other_tags,
    pairs_of,
    sentiment,
)
from minilm.experiments.emergence.lab import EmergenceOptions, emergence
from minilm.experiments.emergence.reduction import (
    ABILITIES,
    ALL,
    ALL_POINTS,
    BLOCKS,
    FOUR,
    IN,
    LARGEST,
    NAMES,
    NEXT_EN,
    NEXT_ZH,
    NO_HEADS,
    OUT,
    RANDOM,
    SCORE,
    SENTIMENT,
    UNTAUGHT,
    Apart,
    fit,
    measured,
    patched,
    share_of,
    taken_apart,
)
from minilm.experiments.emergence.reduction_judged import PREDICTIONS
from minilm.layers.pruning import with_zeroed_heads
from minilm.pretrained.protocol import open_pretraining
from minilm.training.patching import levels_of


@torch.no_grad()
def test_F26_next_sentence_is_answered_as_by_the_pretraining_model(runs):
    ability, base = next_sentence(runs, "en", 0), open_pretraining(runs.en).model.eval()
    batch = ability.texts.batch(range(len(ability.texts)))
    given = batch.input_ids, batch.token_type_ids, batch.attention_mask
    assert torch.allclose(ability.model.eval()(*given), base(*given).nsp_logits, atol=1e-6)


def test_F36_pairs_are_those_of_the_seed_and_none_is_used_for_two_purposes(runs):
    first, again, other = (next_sentence(runs, "en", seed) for seed in (0, 0, 1))
    assert first.texts == again.texts and first.texts != other.texts
    owners = {*first.texts.owner} & {*first.reference.owner}
    assert len(first.texts) == 6 and len(first.reference) == 2 and not owners and {*first.texts.labels} <= {0, 1}


def test_F36_exchanged_seconds_have_the_length_of_the_true_ones(runs):
    _, settings, prepared = abilities.read(runs, "en")
    pairs = pairs_of(prepared, settings.length, 3)
    full = [
        row for row, y in zip(pairs.rows, pairs.labels, strict=True) if y == IS_NEXT and len(row) == settings.length
    ]
    made = abilities.swapped_seconds(
        type(pairs)({name: 2 * column for name, column in pairs.columns.items()}, pairs.pad_values, 2 * pairs.owner),
        prepared.tokenizer,
    )  # every pair twice, so that some have the same length for sure
    ((swap, groups),) = made
    assert full and swap.x.input_ids.shape == swap.other.input_ids.shape and len(swap.x.input_ids) <= abilities.SWAPS
    masks = torch.stack([mask for masks in groups.values() for mask in masks])
    assert (masks.sum(dim=0) == 1).all()  # every position is in one group
    differs = swap.x.input_ids != swap.other.input_ids
    assert not (differs & ~groups["B"][0]).any()
    assert all(row in full for row in swap.other.input_ids.tolist())


def test_F36_sentences_that_are_exchanged_have_the_same_length_and_the_opposite_answer(runs):
    model, found = abilities.tuned(runs, "en", 0, 1.0), abilities.material(runs, "en")
    for swap, groups in opposite_sentences(model, found.test):
        for texts, k in ((swap.x, 0), (swap.other, 1)):
            assert (model.eval()(*texts).argmax(dim=1) == k).all()
        masks = torch.stack([mask for masks in groups.values() for mask in masks])
        assert (masks.sum(dim=0) == 1).all() and masks.shape[1:] == swap.x.input_ids.shape


def test_F36_what_parts_are_worth_is_the_loss_of_models_with_other_weights(runs):
    """By zero, the referee has zeros in W^O; by mean, W^O times the mean is in its bias, too."""
    ability = sentiment(runs, 0, 1.0)
    apart, y = Apart(ability), torch.tensor(ability.texts.labels)

    @torch.no_grad()
    def loss_of(model) -> float:
        z = torch.stack(
            [model.eval()(torch.tensor([row]), torch.zeros(1, len(row)).long())[0] for row in ability.texts.rows]
        )
        return float(torch.nn.functional.cross_entropy(z[3:], y[3:]))  # 12 texts, 3 of them to choose on

    @torch.no_grad()
    def constant(heads, by_zero):
        other = with_zeroed_heads(ability.model, heads)
        for layer, head in heads if not by_zero else ():
            D = 4
            columns = ability.model.encoder.stack.layers[layer].attention.output.weight[:, D * head : D * head + D]
            bias = other.encoder.stack.layers[layer].attention.output.bias
            bias += columns @ apart.means[layer][D * head : D * head + D]
        return loss_of(other)

    whole, heads = loss_of(ability.model), apart.heads
    found = taken_apart(apart, 0)
    none = constant(heads, False)
    assert found["heads"] == pytest.approx([constant([h], False) - whole for h in heads], abs=1e-5)
    assert found["heads by zero"] == pytest.approx([constant([h], True) - whole for h in heads], abs=1e-5)
    alone = [none - constant([h for h in heads if h != kept], False) for kept in heads]
    assert found["heads put in"] == pytest.approx(alone, abs=1e-5) and found[ALL] == pytest.approx(
        none - whole, abs=1e-5
    )
    assert found["layers"] == pytest.approx(
        [constant(heads[:3], False) - whole, constant(heads[3:], False) - whole], abs=1e-5
    )
    best = [tuple(head) for head in found["best"]]
    assert len({*best}) == 4 and found["best together"] == pytest.approx(constant(best, False) - whole, abs=1e-5)
    assert list(found["blocks"]) == ["1", "2", "1, 2"]


def test_F25_names_are_measured_by_character_and_by_whole_names(runs):
    """The referee goes line by line, and reads whole names off the tags itself."""
    ability = names(runs, 0, 1.0)
    random_head(ability.model)
    losses, characters, scores = 0.0, 0, {"true": 0, "guessed": 0, "both": 0}
    for row, labels in list(zip(ability.texts.rows, ability.texts.labels, strict=True))[1:]:  # 6 lines, 1 to choose on
        z = logits(ability.model, row)
        y = torch.tensor(labels)
        losses += float(torch.nn.functional.cross_entropy(z, y, ignore_index=IGNORED, reduction="sum"))
        kept = y != IGNORED
        characters += int(kept.sum())
        true, guessed = (spans([ability.tags[k] for k in side[kept].tolist()]) for side in (y, z.argmax(dim=1)))
        for name, found in {"true": true, "guessed": guessed, "both": true & guessed}.items():
            scores[name] += len(found)
    found = measured(ability)
    assert found.loss == pytest.approx(losses / characters, abs=1e-5) and scores["guessed"] > scores["both"]
    assert found.score == pytest.approx(2 * scores["both"] / (scores["true"] + scores["guessed"]), abs=1e-9)


def random_head(model) -> None:
    """A head that guesses all kinds of names."""
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def logits(model, row: list[int]) -> torch.Tensor:
    return model.eval()(torch.tensor([row]), torch.zeros(1, len(row)).long())[0]


def spans(tags: list[str]) -> set[tuple[str, int, int]]:
    """Names in BIO tags, where an I- that continues nothing begins a name."""
    out, start = set(), None
    for i, tag in enumerate([*tags, "O"]):
        kind = tag[2:]
        if start is not None and (tag[0] != "I" or kind != start[0]):
            out.add((*start, i))
            start = None
        if start is None and tag != "O":
            start = kind, i
    return out


def test_F36_lines_that_are_exchanged_are_read_where_their_tags_differ(runs):
    ability = names(runs, 0, 1.0)
    random_head(ability.model)
    found = list(other_tags(ability.model, abilities.material(runs, "zh").test))
    assert found
    for swap, groups in found:
        rows, (one, two) = torch.arange(len(swap.place)), (swap.x, swap.other)
        said = [ability.model.eval()(*texts).argmax(dim=2)[rows, swap.place] for texts in (two, one)]
        assert torch.equal(torch.stack(said, dim=1), swap.classes) and (said[0] != said[1]).all()
        masks = torch.stack([mask for masks in groups.values() for mask in masks])
        assert (masks.sum(dim=0) == 1).all() and groups["itself"][0][rows, swap.place].all()
        assert (torch.stack(groups["two on either side"]).sum(dim=(0, 2)) <= 4).all()


def test_F36_the_control_starts_where_pretraining_began(runs):
    """Word vectors and neighbour heads, but nothing that pretraining learned: a rate of 0 shows the start."""
    new, taught = (abilities.tuned(runs, "en", 0, 1.0, row) for row in (abilities.NEW, abilities.TUNED))
    pretrained = open_pretraining(runs.en).model.encoder.token_table.weight
    assert not torch.allclose(new.encoder.token_table.weight, pretrained, atol=0.1)
    assert torch.allclose(taught.encoder.token_table.weight, pretrained, atol=0.1)


def test_F36_a_share_of_nearly_nothing_is_not_given():
    assert share_of({"x": 0.3}, 0.6) == {"x": 0.5} and share_of({"x": 0.3}, 0.09) == share_of({"x": 0.3}, -1.0) == {}


def test_F36_all_groups_together_carry_everything_where_one_position_is_read(runs, monkeypatch):
    ability = sentiment(runs, 0, 1.0)
    levels = len(levels_of(ability.model, ability.swaps[0][0].x)) if ability.swaps else 3
    found = patched(ability)
    if ability.swaps:
        assert sum(shares[-1] for shares in found.values()) == pytest.approx(1, abs=1e-4)  # the head is linear
    assert all(len(shares) == levels for shares in found.values())


def test_F36_the_same_seed_gives_the_same_record(runs):
    first, again, other = ({**fit(SENTIMENT, seed, runs=runs), "seconds": 0, "tuned": 0} for seed in (0, 0, 1))
    assert first == again and first["heads"] != other["heads"]


def test_F36_a_model_that_is_not_there_gets_one_sentence(tmp_path, capsys):
    with pytest.raises(InputError, match=r"holds no pretrained model.*`minilm quickstart`, or name .* with --run\."):
        Runs(tmp_path, tmp_path, tmp_path).check()
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert command("emergence", "reduction", "--run", tmp_path, "--run-zh", tmp_path / "none", "--out", tmp_path) == 2
    said = capsys.readouterr()
    assert "Predicted" not in said.out and "`minilm quickstart --language zh`" in said.err and said.err.count("\n") == 1


def test_F36_figures_of_other_weights_are_not_taken_for_theirs(runs, tmp_path, monkeypatch):
    asked = []

    def count(arm, seed, share, bar, *, runs):
        asked.append(arm)
        return fit(arm, seed, share, bar, runs=runs)

    known = lab.EXPERIMENTS["reduction"]
    monkeypatch.setitem(lab.EXPERIMENTS, "reduction", type(known)(**{**vars(known), "fit": count}))
    how = dict(seeds=1, share=0.1, workers=1, progress=False, cache=runs.cache, out=tmp_path)
    emergence(EmergenceOptions("reduction", run=runs.en, run_zh=runs.zh, **how), silent)
    emergence(EmergenceOptions("reduction", run=runs.en, run_zh=runs.zh, **how), silent)
    assert asked == list(ABILITIES)
    monkeypatch.setattr(Runs, "weights", lambda self: ["another"])
    emergence(EmergenceOptions("reduction", run=runs.en, run_zh=runs.zh, **how), silent)
    assert asked == 2 * list(ABILITIES)


def record(arm: str, **changes) -> dict:
    pairs = arm in (NEXT_EN, NEXT_ZH)
    out = {"arm": arm, SCORE: 0.8, NO_HEADS: 0.55 if pairs else 0.78, ALL: 0.5}
    out |= {OUT: 0.6, IN: 0.4, LARGEST: 0.2, FOUR: 0.6, RANDOM: 0.2, BLOCKS: 0.8}
    out |= {"heads": [0.1, 0.2], "heads by zero": [0.2, 0.3], "patched": {"[CLS]": [0.0, 0.2, 0.4, 1.0]}}
    if arm == NAMES:
        out |= {NO_HEADS: 0.3, "patched": carried(0.4, 0.3)}
    return out | {ALL_POINTS: 5.0 if arm == UNTAUGHT else 15.0} | changes


def carried(itself: float, beside: float) -> dict[str, list[float]]:
    """What a place, two on either side, and all others carry, before the first block and behind the only one."""
    return {"itself": [itself, 1.0], "two on either side": [beside, 0.0], "all others": [0.2, 0.0]}


def records(arm: str = "", **changes) -> list[dict]:
    """Two seeds of every arm; the second of one arm with these changes."""
    return [record(name) for name in ABILITIES] + [
        record(name, **(changes if name == arm else {})) for name in ABILITIES
    ]


FAILURES = [
    (NEXT_ZH, {NO_HEADS: 0.7}),
    (SENTIMENT, {NO_HEADS: 0.7}),
    (SENTIMENT, {OUT: 0.9}),
    (NEXT_EN, {IN: 0.6}),
    (NEXT_EN, {LARGEST: 0.3}),
    (NEXT_ZH, {RANDOM: 0.4}),
    (SENTIMENT, {"heads by zero": [0.1, 0.1]}),
    (NEXT_EN, {BLOCKS: 1.1}),
    (NEXT_ZH, {"patched": {"[CLS]": [0.0, 0.2, 0.6, 1.0]}}),
    (NAMES, {NO_HEADS: 0.5}),
    (NAMES, {LARGEST: 0.6}),
    (NAMES, {OUT: 0.9}),
    (NAMES, {"patched": carried(0.6, 0.3)}),
    (UNTAUGHT, {ALL_POINTS: 8.0}),
]


def test_F36_the_predictions_come_true_where_they_should_and_each_fails_by_a_single_seed():
    true_where_they_should(PREDICTIONS, records, FAILURES)


def test_F36_a_prediction_about_a_share_that_is_not_given_fails():
    found = records()
    del found[2][OUT]
    assert found[2]["arm"] == SENTIMENT and not PREDICTIONS[2].judge(found).held
    assert PREDICTIONS[2].judge(found).figures.split("sentiment ")[1].split(",")[0] == "–"
