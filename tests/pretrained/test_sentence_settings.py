"""Sentence vectors against `sentence-transformers`, over folders with random poolings, layers, lengths and prompts."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from published_folders import bert, edit_weights, sentence_folder, texts, write
from safetensors.torch import save_file

from minilm.errors import InputError
from minilm.files.notes import Notes
from minilm.jobs.similar import SimilarOptions, similar
from minilm.models.sentence_encoder import NORMALIZE, DenseConfig, SentenceEncoder, SentenceSettings
from minilm.pretrained.protocol import open_encoder, save_model
from minilm.training.inference import sentence_vectors

SEED, FOLDERS = 11, 200


pytestmark = pytest.mark.usefixtures("quiet")


def referee(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True).double()


def same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=1e-5)


def ours(folder, given, truncate=False):
    loaded = open_encoder(folder)
    return sentence_vectors(loaded.model.double(), loaded.tokenizer, given, truncate)


@pytest.mark.parametrize("part", range(4))
def test_the_vectors_of_random_folders_and_of_the_folders_that_we_write_again(part, tokenizers, tmp_path):
    cut = 0
    for i in range(part * FOLDERS // 4, (part + 1) * FOLDERS // 4):
        rng = random.Random(SEED * 1000 + i)
        folder = tmp_path / str(i)
        sentence_folder(folder, rng.choice(tokenizers), rng)
        given, said = texts(rng), Notes(lambda _: None)
        theirs = referee(folder)
        expected = theirs.encode(given, show_progress_bar=False)
        loaded = open_encoder(folder)
        found = sentence_vectors(loaded.model.double(), loaded.tokenizer, given, note=said)
        same(found, expected)
        assert loaded.model.settings.similarity == theirs.similarity_fn_name
        # the notes say exactly how many were cut
        full = theirs.tokenizer([theirs.prompts.get(theirs.default_prompt_name, "") + text for text in given])
        long = sum(len(ids) > theirs.max_seq_length for ids in full["input_ids"])
        assert [line.split()[0] for line in said.lines] == ([str(long)] if long else [])
        cut += bool(long)
        if i % 8 == 0:  # ours → theirs → ours
            save_model(tmp_path / "ours", loaded.model.float(), loaded.tokenizer)
            again = open_encoder(tmp_path / "ours")
            assert again.model.settings == loaded.model.settings and again.unused == ()
            same(ours(tmp_path / "ours", given), expected)
            same(referee(tmp_path / "ours").encode(given, show_progress_bar=False), expected)
            shutil.rmtree(tmp_path / "ours")
    assert cut > 10


def test_a_folder_without_modules_is_the_mean_and_its_length_that_of_its_tokenizer(tokenizers, tmp_path):
    for i in range(12):
        rng = random.Random(i)
        bert(tmp_path / str(i), tokenizers[0], rng)
        given, theirs = texts(rng), referee(tmp_path / str(i))
        expected = theirs.encode(given, show_progress_bar=False, normalize_embeddings=True)
        same(ours(tmp_path / str(i), given, truncate=True), expected)
        assert theirs.max_seq_length <= 40
        with pytest.raises(
            InputError, match="tokens and the model takes .* allow long texts to be cut with --truncate"
        ):
            ours(tmp_path / str(i), [*given, "fox " * 50])


@pytest.fixture
def folder(tokenizers, tmp_path):
    """A folder with a pooling, a dense layer and prompts, to be changed."""
    place = tmp_path / "model"
    bert(place, tokenizers[1], random.Random(3), max_position_embeddings=40)
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    write(
        place / "modules.json",
        [
            {"type": f"sentence_transformers.models.{kind}", "path": f"{i}_{kind}" if i else "", "name": str(i)}
            for i, kind in enumerate(kinds)
        ],
    )
    write(place / "sentence_bert_config.json", {"max_seq_length": 8, "do_lower_case": False})
    write(place / "1_Pooling/config.json", {"word_embedding_dimension": 8, "pooling_mode_cls_token": True})
    write(place / "2_Dense/config.json", {"in_features": 8, "out_features": 5})
    save_file({"linear.weight": torch.randn(5, 8), "linear.bias": torch.randn(5)}, place / "2_Dense/model.safetensors")
    write(place / "config_sentence_transformers.json", {"prompts": {"query": "find: "}, "default_prompt_name": None})
    return place


FIRST = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
SECOND = [*FIRST, {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("modules.json", {}, "must be one JSON list"),
        ("modules.json", FIRST, "must begin with Transformer and Pooling, each of them once, not Transformer"),
        ("modules.json", [*SECOND, *SECOND[1:]], "not Transformer → Pooling → Pooling"),
        (
            "modules.json",
            [*SECOND, {"type": "custom_st.Head", "path": ""}],
            "module 'custom_st.Head' is not built here",
        ),
        (
            "modules.json",
            [*SECOND, {"type": "sentence_transformers.models.CNN", "path": "2"}],
            "CNN' is not built here",
        ),
        ("modules.json", [*SECOND, {"type": "sentence_transformers.models.Dense"}], "does not say in which folder"),
        ("modules.json", [*SECOND, {"type": "sentence_transformers.models.Dense", "path": "../x"}], "in which folder"),
        ("modules.json", [FIRST[0] | {"path": "0_Transformer"}, SECOND[1]], "lies in the folder '0_Transformer'"),
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling_mode .'median'. is not known"),
        ("1_Pooling/config.json", {"pooling_mode": []}, "pooling_mode .. is not known"),
        ("1_Pooling/config.json", {"pooling_mode_median_tokens": True}, "pooling_mode_median_tokens is not known"),
        (
            "1_Pooling/config.json",
            {"pooling_mode": "cls", "include_prompt": "no"},
            "include_prompt 'no' is not of the type bool",
        ),
        ("2_Dense/config.json", {"in_features": 8}, "does not describe a dense layer"),
        ("2_Dense/config.json", {"in_features": 9, "out_features": 5}, "takes 9 features, and it is given 8"),
        (
            "2_Dense/config.json",
            {"in_features": 8, "out_features": 6},
            r"linear.weight is \[5, 8\], the model's \[6, 8\]",
        ),
        ("2_Dense/config.json", {"in_features": 8, "out_features": 5, "bias": False}, "unknown linear.bias"),
        (
            "2_Dense/config.json",
            {"in_features": 8, "out_features": 5, "use_residual": True},
            "use_residual 'True' is not built",
        ),
        (
            "2_Dense/config.json",
            {"in_features": 8, "out_features": 5, "activation_function": "torch.nn.Softmax"},
            "the activation",
        ),
        (
            "2_Dense/config.json",
            {"in_features": 8, "out_features": 5, "activation_function": "mine.Tanh"},
            "'mine.Tanh' is not",
        ),
        (
            "2_Dense/config.json",
            {"in_features": 8, "out_features": 5, "module_input_name": "token_embeddings"},
            "is not built",
        ),
        (
            "3_Normalize/config.json",
            {"module_input_name": "token_embeddings"},
            "module_input_name 'token_embeddings' is not",
        ),
        ("sentence_bert_config.json", {"max_seq_length": "long"}, "max_seq_length 'long' is not of the type int"),
        ("sentence_bert_config.json", {"max_seq_length": 2}, "texts of 2 tokens leave no room"),
        ("sentence_bert_config.json", {"model_args": {"add_pooling_layer": True}}, "model_args .* is not built here"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task 'fill-mask' is not built"),
        ("sentence_bert_config.json", {"modality_config": {"image": {}}}, "modality_config .* is not built"),
        ("config_sentence_transformers.json", {"default_prompt_name": "q"}, "there is no prompt 'q'"),
        ("config_sentence_transformers.json", {"prompts": {"q": 1}}, "are not texts by name"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "maxsim"}, "similarity 'maxsim' is not known"),
        (
            "config_sentence_transformers.json",
            {"model_type": "SparseEncoder"},
            "model_type 'SparseEncoder' is not built",
        ),
        ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim 0 is not a number of features"),
    ],
)
def test_what_is_not_built_is_refused_in_one_sentence(file, content, message, folder):
    write(folder / file, content)
    with pytest.raises(InputError, match=message) as caught:
        open_encoder(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_part_that_is_missing_or_a_pickle_or_not_a_number_is_refused(folder):
    dense = folder / "2_Dense"
    save_file(
        {"linear.weight": torch.full((5, 8), torch.inf), "linear.bias": torch.ones(5)}, dense / "model.safetensors"
    )
    with pytest.raises(InputError, match="2_Dense: the weights hold NaN or infinity in linear.weight"):
        open_encoder(folder)
    (dense / "model.safetensors").rename(dense / "pytorch_model.bin")
    with pytest.raises(InputError, match="pytorch_model.bin only, a pickle"):
        open_encoder(folder)
    (folder / "1_Pooling/config.json").unlink()
    with pytest.raises(InputError, match="there is no .*config.json, and modules.json names it"):
        open_encoder(folder)


def test_a_length_beyond_the_positions_is_that_of_the_positions(folder):
    write(folder / "sentence_bert_config.json", {"max_seq_length": 512})
    (short, long), said = ("fox " * 38, "fox " * 60), []
    loaded = open_encoder(folder)
    vectors = sentence_vectors(loaded.model, loaded.tokenizer, [short, long], note=said.append)
    same(*vectors)
    assert said == ["1 of 2 texts was cut at 40 tokens, which is all that the model reads: text 2 of the texts has 62."]


def test_similar_says_what_was_cut_and_honours_the_similarity(folder, tmp_path):
    lines = [
        " ".join(random.Random(i).choices("the old house stood by the river in June".split(), k=2 + 2 * i))
        for i in range(9)
    ]
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    options = SimilarOptions(("river in June",), str(tmp_path / "lines.txt"), folder, top=9)
    for kind in ("cosine", "dot", "euclidean", "manhattan"):
        write(
            folder / "config_sentence_transformers.json", {"prompts": {"query": "find: "}, "similarity_fn_name": kind}
        )
        write(folder / "modules.json", json.loads((folder / "modules.json").read_text(encoding="utf-8"))[:3])
        theirs, said = referee(folder), []
        scores = theirs.similarity(*(theirs.encode(text) for text in (list(options.queries), lines)))[0].numpy()
        (hits,) = similar(options, said.append)
        assert [hit.line for hit in hits] == [lines[i] for i in np.argsort(-scores, kind="stable")]
        np.testing.assert_allclose([hit.cosine for hit in hits], -np.sort(-scores), atol=1e-5)
        notes = [line for line in said if line.startswith("note: ")]
        assert any(
            line.startswith("note: 6 of 9 texts were cut at 8 tokens") and "lines.txt, for example," in line
            for line in notes
        )
        assert any("has prompts for some uses (query) and none for all" in line for line in notes)
        assert any(f"asks for the similarity '{kind}'" in line for line in notes) == (kind != "cosine")
        assert not any("does not say how" in line for line in notes)


def test_the_published_model_cuts_at_the_length_that_it_was_trained_for(tmp_path, capsys):
    """A line of 300 tokens: 0.447 if all of them are read, 0.122 by sentence-transformers."""
    folder = open_encoder("all-minilm-l6-v2").folder
    long = "The committee discussed the budget. " * 50 + "My cat sleeps on the sofa. " * 40
    (tmp_path / "long.txt").write_text(f"{long}\nshort\n", encoding="utf-8")
    said = []
    (hits,) = similar(SimilarOptions(("a sleeping cat",), str(tmp_path / "long.txt")), said.append)
    theirs = referee(folder)
    expected = theirs.similarity(theirs.encode("a sleeping cat"), theirs.encode([long.strip(), "short"]))[0].numpy()
    assert {hit.line: pytest.approx(hit.cosine, abs=1e-5) for hit in hits} == dict(
        zip([long.strip(), "short"], expected)
    )
    assert any("1 of 2 texts" in line and "was cut at 256 tokens" in line for line in said)


def test_settings_that_do_not_exist_or_do_not_fit_or_have_no_place_are_refused(folder, tmp_path):
    for wrong in (dict(pooling=("median",)), dict(similarity="maxsim")):
        with pytest.raises(InputError, match="is not known: choose one of"):
            SentenceSettings(**wrong)
    with pytest.raises(InputError, match="activation 'Softmax' is not known"):
        DenseConfig(3, 4, activation="Softmax")
    from minilm.models.lstm import LSTMConfig, LSTMEncoder

    lstm = LSTMEncoder(LSTMConfig(120, 3, 4))
    settings = SentenceSettings(("max", "mean"), (DenseConfig(8, 3), NORMALIZE), stated=True)
    model = SentenceEncoder(lstm, False, settings)
    assert model(torch.tensor([[3, 4, 5]])).shape == (1, 3)
    with pytest.raises(InputError, match="a dense layer takes 8 features, and it is given 4"):
        SentenceEncoder(lstm, False, SentenceSettings(layers=(DenseConfig(8, 3),)))
    with pytest.raises(InputError, match="lstm is saved without settings for sentences"):
        save_model(tmp_path / "lstm", model, open_encoder(folder).tokenizer)
    assert not (tmp_path / "lstm").exists()


def test_a_vector_that_is_not_a_number_is_never_ranked(folder):
    edit_weights(folder, lambda w: {name: 1e30 * t if "word" in name else t for name, t in w.items()})
    loaded = open_encoder(folder)
    with pytest.raises(InputError, match="the vector of text 1 of my texts is not a number .* weights are broken"):
        sentence_vectors(loaded.model, loaded.tokenizer, ["a fox", "no fox"], where="my texts")
