# %% [markdown]
# # 29 · Where the time goes
#
# > **Minutes.** 1 to run, about 40 to read and try.
# >
# > **You need** [notebook 07](07_transformer_block.ipynb) for the block, [notebook 12](12_pretraining.ipynb) for pretraining,
# > and [notebook 10](10_long_distances.ipynb) for what attention costs.
# >
# > **Afterwards you can** count the multiplications of a training step on paper, say which of them are not needed, and tell
# > why more than a quarter of the time goes where there is hardly any arithmetic.
# >
# > **The documents.** D1 §7.4: “大语言模型的计算资源消耗较大，未来可以探索能效优化的方法” (large language models use many
# > resources; methods that save energy could be explored) · D2 §3.3.2: “预训练和微调过程需要大量计算资源” (pretraining and
# > fine-tuning need much computing)
# >
# > **Words.** [token, logit and batch](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `claim` and `agree`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F22](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $B$ rows of a batch, $T$ tokens of each, $C$ model width, $L$ blocks, $V$ vocabulary, $M$ masked positions of the
# batch, $N$ parameters.
#
# The documents say that a large model needs much computing, and leave it at that. How much, and for what, can be counted. We
# take the model of `minilm quickstart` and one step of its pretraining apart, first on paper and then with the clock.

# %%
import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from minilm import BertForPretraining, TransformerConfig, initialise
from minilm.experiments.table import measured
from minilm.layers.attention import MultiHeadAttention
from minilm.models.config import parameter_count
from minilm.training.losses import cross_entropy
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import agree, claim, panels

torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# ## The multiplications of a step  (F22 · D4 §1.1.1)
# A product of [rows, inputs] and [inputs, outputs] takes rows · inputs · outputs multiplications. A block on $T$ tokens has
# four products with matrices of $C \times C$, two of attention, and two with the feed-forward layer, which is four times as
# wide. Behind the blocks, the masked-word head has one product of $C \times C$ and the one with the vocabulary:
#
# $$\text{block} = 4\,TC^2 + 2\,T^2C + 8\,TC^2, \qquad \text{head} = T\,(C^2 + CV)$$
#
# Everything else (norms, softmax, biases) takes a few operations per number, and we leave it out for now.


# %%
def block(T, C):
    return 12 * T * C**2 + 2 * T**2 * C


def forward(B, T, C, L, V):
    """The multiplications of a forward pass that predicts a word at every position, with the next-sentence head on [CLS]."""
    return B * (L * block(T, C) + T * (C**2 + C * V) + C**2 + 2 * C)


B, T, C, L, V = 4, 128, 128, 3, 8192
config = TransformerConfig(V, C, layers=L, heads=4, feed_forward=4 * C, max_length=T, positions="relative")
model = BertForPretraining(config)
initialise(model, generator=torch.Generator().manual_seed(0))
rng = np.random.default_rng(0)
ids = torch.from_numpy(rng.integers(5, V, size=(B, T)))


def counted(work):
    """The multiplications that PyTorch counts while `work` runs: it counts a multiplication and an addition as two."""
    with FlopCounterMode(display=False) as counter:
        out = work()
    return counter.get_total_flops() // 2, out


done, out = counted(lambda: model(ids))
agree("a forward pass", done, forward(B, T, C, L, V))
print(
    f"{done / 1e6:.0f} million multiplications for {B * T} tokens and {parameter_count(model) / 1e6:.2f} million parameters"
)

# %% [markdown]
# And backwards? Each product $Y = XW$ needs two products of the same size: $\delta X = \delta Y\, W^\top$ and $\delta W =
# X^\top \delta Y$. So a step costs three times its forward pass.

# %%
labels = torch.from_numpy(rng.integers(5, V, size=(B, T)))
backward, _ = counted(lambda: (cross_entropy(out.mlm_logits, labels).value + out.nsp_logits.sum()).backward())
agree("backwards, twice as much", backward, 2 * done)

# %% [markdown]
# **Predict first.** In this model, what takes more multiplications: the three blocks, or the product with the vocabulary?
# And in BERT-base, with $C = 768$, $L = 12$ and $V = 30{,}522$?
#
# <details><summary>Answer</summary>
#
# Here the vocabulary: it is 64 times as wide as the model, and that one product costs as much as four and a half blocks. In
# BERT-base it is only a fifth: the blocks grow with $C^2$, the vocabulary with $C$.
#
# </details>

# %%
models = {"quickstart": (128, 3, 8192), "4 × 256": (256, 4, 8192), "BERT-base": (768, 12, 30522)}
shares = {}
for name, (width, depth, words) in models.items():
    whole = forward(1, T, width, depth, words)
    attention = depth * 2 * T**2 * width / whole
    shares[name] = {
        "vocabulary": T * width * words / whole,
        "attention: scores and weights": attention,
        "other products of the blocks": depth * block(T, width) / whole - attention,
    }
picture, axis = panels(1, 1, width=8, height=3)
left = np.zeros(len(models))
for number, part in enumerate(shares["quickstart"]):
    values = np.array([found[part] for found in shares.values()])
    axis.barh(list(models), values, left=left, color=COLOURS[number], label=part)
    left += values
axis.set(title="Multiplications of a forward pass, as shares", xlim=(0, 1))
axis.invert_yaxis()
axis.legend(loc="lower center", bbox_to_anchor=(0.5, -0.5), ncols=3)
picture

# %%
claim("In the quickstart's model, the vocabulary takes more than half.", shares["quickstart"]["vocabulary"] > 0.5)
claim("In BERT-base, about a fifth.", 0.15 < shares["BERT-base"]["vocabulary"] < 0.25)
claim(
    "Attention itself is nowhere more than a tenth.",
    all(s["attention: scores and weights"] < 0.1 for s in shares.values()),
)

# %% [markdown]
# A rule of thumb says that a step costs $6N$ operations per token: a multiplication and an addition for each of the $N$
# weights, once forwards and twice backwards. It is right where the products with weights are everything.
#
# **What to try.** At which length does attention itself reach the rest of a block? Print
# `[n for n in (128, 256, 512, 768, 1024) if 2 * n**2 * C >= 12 * n * C**2]`. · How far off is the rule of thumb here? Print
# `round(6 * parameter_count(model) * B * T / (2 * 3 * done), 2)`, the rule divided by the count.
#
# <details><summary>Answers</summary>
#
# 1. From $T = 6C$ on. Below that, the length of a text costs in proportion, and not in its square.
#
#    ```text
#    [768, 1024]
#    ```
# 2. Four per cent too low: attention multiplies numbers that are not weights. (The table of tokens is looked up for nothing
#    and then multiplied once as the last product, because input and output share it.)
#
#    ```text
#    0.96
#    ```
#
# </details>
#
# ## Only what is needed  (F22, F25 · D4 §2.1.5)
# Nobody asks for the words that are not masked. With 15 % masked, the head can leave out the other 85 % of the positions.
# And the last block need not compute what nobody reads: its keys and values are needed everywhere, because the masked
# positions look at them, but its queries, its output and its feed-forward layer only where a word is masked, and at [CLS].

# %%
m = round(0.15 * T)  # masked positions of each row
masked = torch.from_numpy(
    np.concatenate([row * T + np.sort(1 + rng.permutation(T - 1)[:m]) for row in range(B)])
)  # counted through the batch


def needed(B, T, C, L, V, m):
    """The multiplications of a forward pass that computes m masked positions of each row, and [CLS]."""
    q = m + 1
    last = 2 * T * C**2 + q * (10 * C**2 + 2 * T * C)
    return B * ((L - 1) * block(T, C) + last + m * (C**2 + C * V) + C**2 + 2 * C)


done_needed, out_needed = counted(lambda: model(ids, masked=masked))
agree("a forward pass with what is needed", done_needed, needed(B, T, C, L, V, m))
agree("the same logits", out_needed.mlm_logits, out.mlm_logits.flatten(0, 1)[masked], atol=1e-5)
print(f"{done_needed / done:.0%} of the multiplications")
claim("Less than half is left.", done_needed < done / 2)

# %% [markdown]
# This is why a step of minilm takes about half the time of the same step in `transformers`, which computes everything. Both
# give the same logits to the last digits: nothing is approximated.
#
# **What to try.** Leave the last block whole: print
# `round((done_needed + B * (T - m - 1) * (10 * C**2 + 2 * T * C)) / done, 2)`. Which of the two savings is the larger one?
#
# <details><summary>Answers</summary>
#
# 1. The head's: without the words that nobody asks for, 48 % is left, and the last block brings it to 39 %.
#
#    ```text
#    0.48
#    ```
#
# </details>
#
# ## Arithmetic is not time  (F22 · D2 §3.3.2)
# Now with a clock. `minilm bench speed --rows parts` runs the quickstart's own step under `torch.profiler` and sorts all
# operations into a few kinds. These figures are from one core of an AMD EPYC; run the command for yours.
#
# **Predict first.** Outside the products there is hardly any arithmetic. How much of the time will it take?
#
# <details><summary>Answer</summary>
#
# More than a quarter. The softmax over the vocabulary has few operations per number, but [M, V] numbers: each has to be fetched
# from memory, and written back, several times.
#
# </details>

# %%
parts = measured("speed-parts")
time, work = (np.array([part[what] for part in parts]) for what in ("milliseconds", "multiplications"))
picture, axis = panels(1, 1, width=9, height=4)
at = np.arange(len(parts))
axis.barh(at - 0.2, work / work.sum(), 0.38, color=COLOURS[0], label="of the multiplications")
axis.barh(at + 0.2, time / time.sum(), 0.38, color=COLOURS[1], label="of the time")
axis.set(title="One step of the quickstart, as shares", yticks=at)
axis.set_yticklabels([part["part"] for part in parts])
axis.invert_yaxis()
axis.legend()
picture

# %%
outside = time[work == 0].sum() / time.sum()
print(f"{time.sum():.0f} ms per step; {outside:.0%} of the time outside the products")
claim("Outside the products goes more than a fifth of the time.", outside > 0.2)

# %% [markdown]
# What decides is how much is computed with each number that is fetched. A product of [R, I] and [I, O] fetches
# $RI + IO + RO$ numbers for $RIO$ multiplications, a softmax fetches each number for one exponential:
#
# $$\text{intensity} = \frac{R\,I\,O}{RI + IO + RO}$$

# %%
M = B * m


def intensity(R, I, O):
    return R * I * O / (R * I + I * O + R * O)


kinds = {
    "vocabulary product": intensity(16 * m, C, V),
    "feed-forward layer": intensity(16 * T, C, 4 * C),
    "scores of one head": intensity(T, C // 4, T),
    "softmax, norm, GELU": 0.5,  # read once, write once
    "AdamW": 1 / 7,  # weight, gradient and two means are read, three of them are written: 7 numbers for one weight
}
for name, found in kinds.items():
    print(f"{name:22} {found:6.1f} multiplications for each number that is fetched")
claim("A feed-forward layer computes more than a hundred times as much with each number as a softmax.",
      kinds["feed-forward layer"] > 100 * kinds["softmax, norm, GELU"])  # fmt: skip

# %% [markdown]
# A processor computes dozens of multiplications in the time in which memory delivers one number. Operations of low
# intensity wait for memory. They become faster by fetching less: several of them done while a number is there (that is
# what *fused* means), and pieces that stay in the processor's small, fast memory, the *cache*.
#
# ## Never all at once  (F03, F08 · D0 §4.1)
# Attention as it is written stores $T \times T$ weights for every head. The fused form computes a piece of them, uses it,
# and forgets it. A softmax over pieces works because its sum can be corrected afterwards: if a larger maximum $m'$ comes,
# what was summed so far is multiplied by $e^{m - m'}$.

# %%
H, D, S = 2, 16, 96
q, k, v = (torch.from_numpy(rng.normal(size=(H, S, D))) for _ in range(3))


def in_pieces(q, k, v, size):
    """softmax(QKᵀ/√D)V, over pieces of the keys: never more than [H, T, size] weights at once."""
    largest = torch.full((H, S, 1), -torch.inf, dtype=q.dtype)
    total, out = torch.zeros(H, S, 1, dtype=q.dtype), torch.zeros_like(q)
    for start in range(0, S, size):
        scores = q @ k[:, start : start + size].transpose(1, 2) / D**0.5
        larger = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))
        weights, correction = (scores - larger).exp(), (largest - larger).exp()
        total = correction * total + weights.sum(dim=-1, keepdim=True)
        out = correction * out + weights @ v[:, start : start + size]
        largest = larger
    return out / total


written = (q @ k.transpose(1, 2) / D**0.5).softmax(dim=-1) @ v
agree("attention in pieces of 20 keys", in_pieces(q, k, v, 20), written, atol=1e-12)
agree("and PyTorch's fused kernel", F.scaled_dot_product_attention(q, k, v), written, atol=1e-12)

attention = MultiHeadAttention(64, heads=4)
x = torch.from_numpy(rng.normal(size=(2, 40, 64))).float()
with torch.no_grad():
    attention.fused = True
    fused, _ = attention(x)
    attention.fused = False
    readable, _ = attention(x)
agree("minilm/layers/attention.py, both ways", fused, readable, atol=1e-6)

# %% [markdown]
# The loss can be treated in the same way. Its gradient is known without autograd, $\delta z = (\text{softmax}(z) - y)/M$, so
# a piece of the logits can be computed, turned into its part of the loss and of the gradients, and forgotten. (Where `minilm` is
# told to multiply with oneDNN, it computes the same gradient from the whole table of logits, 64 rows at a time. In pretraining it
# is written over the logits, so that no second table is needed; see [`vocabulary_loss.py`](../minilm/training/vocabulary_loss.py).)


# %%
def loss_in_pieces(h, W, y, size):
    """The cross-entropy of z = h Wᵀ with its gradients, never more than [size, V] logits at once."""
    value, dh, dW = 0.0, torch.empty_like(h), torch.zeros_like(W)
    for start in range(0, len(h), size):
        piece = slice(start, start + size)
        z = h[piece] @ W.T  # [size, V]
        log_p = z.log_softmax(dim=-1)
        value -= float(log_p.gather(1, y[piece, None]).sum()) / len(h)
        dz = log_p.exp() / len(h)
        dz.scatter_add_(1, y[piece, None], torch.full((len(dz), 1), -1 / len(h), dtype=dz.dtype))
        dh[piece], dW = dz @ W, dW + dz.T @ h[piece]
    return value, dh, dW


rows, words, wide = 90, 500, 24
h, W = (torch.from_numpy(rng.normal(size=size)).requires_grad_() for size in ((rows, wide), (words, wide)))
y = torch.from_numpy(rng.integers(0, words, size=rows))
loss = cross_entropy(h @ W.T, y).value
loss.backward()
value, dh, dW = loss_in_pieces(h.detach(), W.detach(), y, size=25)
agree("the loss", value, loss.item(), atol=1e-12)
agree("its gradient for h", dh, h.grad, atol=1e-12)
agree("its gradient for W", dW, W.grad, atol=1e-12)
for name, (rows_at_once, columns) in {"all at once": (16 * m, V), "in pieces of 25": (25, V)}.items():
    print(f"{name:16} {4 * rows_at_once * columns / 1e6:6.1f} MB of logits in the quickstart")

# %% [markdown]
# **What to try.** Forget that the maximum changes: set
# `weights, correction = (scores - larger).exp(), (largest - larger).exp()` to
# `weights, correction = (scores - larger).exp(), 1.0`. Does `agree` notice? · Take larger pieces of the logits: set `size=25`
# to `size=90`. Does the loss change?
#
# <details><summary>Answers</summary>
#
# 1. Yes: what was summed before a larger maximum came counts too much.
#
#    ```text
#    no longer equal: attention in pieces of 20 keys: they differ by 3.9e-01, more than 1e-12
#    ```
# 2. No, except in its last digits; and 90 rows at once are all of them.
#
#    ```text
#    the loss: equal to the last bit
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
# 1. A forward pass of a block costs $12\,TC^2 + 2\,T^2C$ multiplications, and a step three times its forward pass.
# 2. In a small model, the vocabulary takes more than half of them; in BERT-base, about a fifth.
# 3. Computing only the masked positions saves more than half, and changes no result.
# 4. Time is not arithmetic: what computes little with each number waits for memory.
# 5. Attention and the loss can be computed in pieces that are forgotten, with the same value and the same gradient.
#
# **Where to read on.** Williams, Waterman and Patterson (2009), *Roofline: an insightful visual performance model* · Dao and
# others (2022), *FlashAttention*, arXiv:2205.14135 · Kaplan and others (2020), *Scaling laws for neural language models*, §2.1,
# arXiv:2001.08361 · [the bench](../minilm/bench/README.md)
#
# **Exercises.** This notebook has none of its own; these three are what it makes faster.
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `attention` | 30 | medium |
# | `cross_entropy_gradient` | 20 | medium |
# | `linear` | 20 | easy |
