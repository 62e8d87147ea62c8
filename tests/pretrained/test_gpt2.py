"""GPT and GPT-2 of `transformers`: each opens on the other side with equal logits, or is refused in one sentence."""

import json
import random

import pytest
import torch
import transformers
from published_folders import edit_weights, write
from safetensors.torch import load_file
from writers import redrawn

from minilm.errors import InputError
from minilm.models.gpt import GPT, GPTConfig, GPTEncoder
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.protocol import architecture_of, open_classifier, open_model, open_pretraining, save_model
from minilm.pretrained.weights import weights_of
from minilm.text.causal_tokenizer import CausalTokenizer, train_bytes

pytestmark = pytest.mark.usefixtures("quiet")
TEXT = "The old house stood by the river. Nobody lived in it, and nobody came; élan, 北京, 🎉.\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text(TEXT * 3, encoding="utf-8")
    return train_bytes([file], 290)


def drawn_config(rng: random.Random, tokenizer, **changes) -> GPTConfig:
    heads = rng.choice([1, 2, 3])
    sizes = dict(
        vocab_size=tokenizer.size + rng.choice([0, 5]),
        width=heads * rng.choice([4, 6]),
        layers=rng.choice([1, 2, 3]),
        heads=heads,
        feed_forward=rng.choice([1, 7, 13]),
        max_length=rng.choice([5, 23]),
        dropout=rng.choice([0.0, 0.25]),
        activation=rng.choice(["gelu", "gelu_new", "relu"]),
        positions=rng.choice(["learned", "learned", "sinusoidal"]),
        epsilon=rng.choice([1e-5, 1e-2]),
    )
    return GPTConfig(**sizes | changes)


def batch_for(config: GPTConfig):
    """Rows of different lengths with padding in front, and where their tokens stand."""
    rng, T = torch.Generator().manual_seed(0), config.max_length
    mask = torch.arange(T) >= torch.tensor([[0], [T // 2], [T - 1]])
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    return torch.randint(0, config.vocab_size, (3, T), generator=rng), mask, places


def there(folder, kind="GPT2LMHeadModel", dtype=torch.float32):
    model, info = getattr(transformers, kind).from_pretrained(folder, dtype=dtype, output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    return model.eval()


@torch.no_grad()
def same_logits(ours, folder, config):
    ids, mask, places = batch_for(config)
    for dtype, atol in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        theirs = there(folder, dtype=dtype)(ids, attention_mask=mask.long(), position_ids=places).logits
        found = ours.to(dtype)(ids, mask)
        torch.testing.assert_close(
            found[mask], theirs[mask], atol=atol * float(theirs.abs().max().clamp(min=1)), rtol=0
        )


def edit(folder, **entries) -> None:
    """Change config.json by key; None removes it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | entries
    write(folder / "config.json", {key: value for key, value in config.items() if value is not None})


# ---- ours there


@pytest.mark.parametrize("seed", range(5))
def test_F23_our_folder_opens_there_with_equal_logits_and_here_bit_for_bit(seed, tokenizer, tmp_path):
    config = drawn_config(random.Random(seed), tokenizer)
    model = redrawn(GPT(config), seed).float()
    save_model(tmp_path / "ours", model, tokenizer)
    opened = open_model(tmp_path / "ours")
    assert type(opened.model) is GPT and opened.model.config == config and opened.lacking == opened.unused == ()
    a, b = weights_of(opened.model), weights_of(model)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    save_model(tmp_path / "again", opened.model, opened.tokenizer)
    files = [{p.name: p.read_bytes() for p in f.iterdir()} for f in tmp_path.iterdir()]
    assert files[0] == files[1]
    same_logits(model, tmp_path / "ours", config)


def test_F23_the_gradients_are_theirs_as_well(tokenizer, tmp_path):
    config = drawn_config(random.Random(9), tokenizer, positions="learned", layers=2, dropout=0.0, max_length=9)
    model = redrawn(GPT(config)).float()
    save_model(tmp_path, model, tokenizer)
    theirs, model = there(tmp_path, dtype=torch.float64), model.double()
    ids = torch.randint(0, config.vocab_size, (2, 9), generator=torch.Generator().manual_seed(1))
    for logits in (theirs(ids).logits, model(ids)):
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    adapter = architecture_of(model)
    ours = adapter.write_names({name: p.grad for name, p in model.named_parameters()})
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, atol=1e-12, rtol=1e-10)


def test_our_tokenizer_begins_a_prompt_there_and_leaves_it_open(tokenizer, tmp_path):
    save_model(tmp_path, redrawn(GPT(drawn_config(random.Random(2), tokenizer))).float(), tokenizer)
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), open_model(tmp_path).tokenizer
    assert isinstance(ours, CausalTokenizer)
    for text in ("The old house", "  élan\n北京 🎉 [SEP]", ""):
        assert theirs(text, split_special_tokens=True)["input_ids"] == ours.prompt(text)
    assert ours.prompt("The") == [tokenizer.cls, *tokenizer.ids(["The"])[0]] and ours.prompt("") == [tokenizer.cls]
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (ours.begin, ours.end, ours.pad)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert [config[f"{end}_token_id"] for end in ("bos", "eos", "pad")] == [ours.begin, ours.end, ours.pad]


@pytest.mark.parametrize("positions", ["relative", "rotary"])
def test_F21_what_has_no_counterpart_there_says_so_and_is_refused_there(positions, tokenizer, tmp_path):
    model = redrawn(GPT(drawn_config(random.Random(3), tokenizer, positions=positions))).float()
    save_model(tmp_path, model, tokenizer)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == f"minilm-gpt-{positions}"
    assert f"transformers has no GPT with {positions} positions" in config["minilm_note"]
    with pytest.raises(ValueError, match=f"minilm-gpt-{positions}"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    opened = open_pretraining(tmp_path).model
    assert opened.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(opened.parameters(), model.parameters(), strict=True))
    edit(tmp_path, model_type="gpt2")
    with pytest.raises(InputError, match=f"a GPT-2 has no '{positions}' positions"):
        open_model(tmp_path)


@pytest.mark.parametrize("crf", [None, False, True])
def test_a_classifier_on_a_gpt_is_opened_again(crf, tokenizer, tmp_path):
    head = TextHeadConfig(("a", "b", "c"), pooling="last") if crf is None else TokenHeadConfig(("a", "b", "c"), crf=crf)
    model = redrawn(Classifier(GPTEncoder(drawn_config(random.Random(4), tokenizer)), head)).float()
    save_model(tmp_path, model, tokenizer)
    opened = open_classifier(tmp_path).model
    ids = torch.arange(5)[None]
    assert opened.head_config == head and torch.equal(opened(ids), model(ids))
    body = there(tmp_path, "GPT2Model")
    torch.testing.assert_close(body(ids).last_hidden_state, model.encoder(ids).hidden, atol=1e-5, rtol=1e-5)
    assert isinstance(open_model(tmp_path).model, Classifier)
    with pytest.raises(InputError, match="guesses no masked words"):
        open_pretraining(tmp_path)


# ---- theirs here


def published(folder, rng: random.Random, tokenizer, kind="GPT2LMHeadModel", **changes):
    c = drawn_config(rng, tokenizer)
    sizes = dict(vocab_size=c.vocab_size, n_positions=c.max_length, n_embd=c.width, n_layer=c.layers, n_head=c.heads)
    sizes |= dict(n_inner=rng.choice([None, c.feed_forward]), activation_function=c.activation)
    made = transformers.GPT2Config(
        **sizes | dict(layer_norm_epsilon=c.epsilon, bos_token_id=3, eos_token_id=3) | changes
    )
    model = redrawn(getattr(transformers, kind)(made), rng.randrange(10**6)).float()
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    names = {"bos_token": "[SEP]", "eos_token": "[SEP]", "unk_token": "[UNK]"}
    save_plain(folder, tokenizer, names)
    return model


def save_plain(folder, tokenizer, names):
    content = json.loads(tokenizer.to_json()) | {"post_processor": None}
    write(folder / "tokenizer.json", content)
    write(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | names)


@pytest.mark.parametrize("how", ["as it is", "twice", "there", "bare", "old", "body", "half"])
def test_F23_a_published_gpt2_opens_here_with_equal_logits(how, tokenizer, tmp_path):
    rng = random.Random(how)
    model = published(tmp_path, rng, tokenizer, "GPT2Model" if how == "body" else "GPT2LMHeadModel")
    if how in ("twice", "there"):

        def change(weights):
            weights["lm_head.weight"] = weights["transformer.wte.weight"]
            return {k: v for k, v in weights.items() if how == "twice" or k != "transformer.wte.weight"}

        edit_weights(tmp_path, change)
    if how in ("bare", "old"):
        edit_weights(tmp_path, lambda weights: {name.removeprefix("transformer."): t for name, t in weights.items()})
    if how == "old":
        edit_weights(
            tmp_path,
            lambda weights: (
                weights | {"h.0.attn.bias": torch.ones(1, 1, 5, 5), "h.0.attn.masked_bias": torch.tensor(-1e4)}
            ),
        )
        edit(
            tmp_path,
            architectures=None,
            activation_function=None,
            layer_norm_epsilon=None,
            n_ctx=model.config.n_positions,
        )
        model.config.activation_function = "gelu_new"
    if how == "half":
        edit_weights(tmp_path, lambda weights: {name: t.half() for name, t in weights.items()})
    opened = open_model(tmp_path)
    if how == "body":
        assert isinstance(opened.model, SentenceEncoder)
        ids, mask, places = batch_for(opened.model.config)
        with torch.no_grad():
            theirs = model(ids, attention_mask=mask.long(), position_ids=places).last_hidden_state
            torch.testing.assert_close(
                opened.model.encoder(ids, None, mask).hidden[mask], theirs[mask], atol=1e-5, rtol=1e-5
            )
        return
    assert type(opened.model) is GPT and opened.tokenizer.prompt("The") == tokenizer.ids(["The"])[0]
    same_logits(opened.model, tmp_path, opened.model.config)
    if how == "as it is":
        save_model(tmp_path / "ours", open_model(tmp_path).model, opened.tokenizer)
        before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "ours"))
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_embd": None}, "does not describe a GPT-2: it lacks n_embd"),
        ({"n_layer": 0}, "n_layer 0 is no size"),
        ({"n_head": 5, "n_embd": 12}, "width 12 is not divisible by 5 heads"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True is not implemented"),
        ({"scale_attn_weights": False}, "scale_attn_weights False is not implemented"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings False is not implemented"),
        ({"activation_function": "silu"}, "activation 'silu' is not known"),
        ({"resid_pdrop": 1.5}, "resid_pdrop 1.5 is not in"),
        ({"n_inner": 3}, r"h.0.mlp.c_fc.weight is \[.*\] and should be"),
        ({"n_layer": 9}, "missing transformer.h"),
    ],
)
def test_what_is_not_implemented_or_wrong_is_one_sentence(change, said, tokenizer, tmp_path):
    published(tmp_path, random.Random(5), tokenizer)
    edit(tmp_path, **change)
    with pytest.raises(InputError, match=said):
        open_model(tmp_path)


def test_an_output_matrix_of_its_own_and_unknown_tensors_are_refused(tokenizer, tmp_path):
    published(tmp_path, random.Random(6), tokenizer)
    edit_weights(tmp_path, lambda weights: weights | {"lm_head.weight": weights["transformer.wte.weight"] + 1})
    with pytest.raises(InputError, match="lm_head.weight is a tensor of its own"):
        open_model(tmp_path)
    edit_weights(
        tmp_path, lambda w: {n: t for n, t in w.items() if n != "lm_head.weight"} | {"transformer.h.0.x": torch.ones(2)}
    )
    with pytest.raises(InputError, match=r"unknown transformer.h.0.x"):
        open_model(tmp_path)


def test_a_classifier_of_theirs_is_no_language_model(tokenizer, tmp_path):
    published(tmp_path, random.Random(7), tokenizer, "GPT2ForSequenceClassification", num_labels=3)
    notes = []
    assert not hasattr(open_model(tmp_path, notes.append).model, "next_logits")
    assert any("score.weight" in note for note in notes)
