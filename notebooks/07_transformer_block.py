# %% [markdown]
# # 07 · The Transformer block
#
# > **Minutes.** 1 to run, about 85 to read and try.
# >
# > **You need** attention and its gradient ([notebook 04](04_attention.ipynb)), heads ([notebook 05](05_heads.ipynb)),
# > positions ([notebook 06](06_positions.ipynb)), and warm-up ([notebook 01](01_learning_from_data.ipynb)).
# >
# > **Afterwards you can** write a Transformer block with its gradient, say why a deep stack of blocks trains or does not
# > train, choose the first weights, and count the parameters of a whole model.
# >
# > **The documents.** D4 §2.1.5:
# > “自注意力机制（Self-Attention）是Transformer模型的核心组成部分。”
# > (self-attention is the core component of the Transformer). The core, but only half of a block; the other half is here.
# >
# > **Words.** A [nat](GLOSSARY.md#words-that-the-notebooks-use) is the unit of a loss, and a
# > [logit](GLOSSARY.md#words-that-the-notebooks-use) is a score before the softmax; these and D4, F20, `agree`, `claim` and
# > `FAST` are explained in [notebook 01](01_learning_from_data.ipynb).
#
# Letters: $T$ words, $C$ the width of the model, $F$ the width inside the feed-forward network, $L$ blocks, $H$ heads,
# $D$ the size of a head, $B$ sentences in a batch.

# %%
from collections import Counter

import numpy as np
import torch
from torch import nn

from minilm.formulas import attention, transformer as by_hand
from minilm.layers import normalization, transformer as library
from minilm.viz import plots, schematics
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # products as small as ours are faster without a second thread


def by_machine(function, arrays, upstream):
    """The gradients that PyTorch finds for the same function."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    return torch.autograd.grad(function(*tensors), tensors, torch.as_tensor(upstream))


# %% [markdown]
# Here is the whole block, in the two orders that are in use. Attention mixes the words; the **feed-forward network**
# works on each word alone. Around each of them leads a **residual**, a way on which the vectors pass unchanged, and
# each has a **layer norm**, which brings vectors back to one size. A block returns the shape that it gets, [B, T, C], so
# blocks can be stacked; each has weights of its own. We build the parts first, then the block.

# %%
schematics.block_orders()

# %% [markdown]
# ## Layer norm  (F20 · D4 §2.1.9)
# Sums of many terms grow. Layer norm brings the vector of each word back to one size. It works over the $C$ features
# of *one* position:
#
# $$y = \gamma \odot \hat x + \beta, \qquad \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}},$$
# $$\mu = \frac1C\sum_c x_c, \qquad \sigma^2 = \frac1C\sum_c (x_c - \mu)^2 .$$
#
# ($\odot$ multiplies entry by entry.) This definition fixes three details: the variance is the biased one (divided by
# $C$), $\varepsilon$ stands *inside* the root, and $\gamma, \beta\ [C]$ are learned. They give each feature back the
# size and the offset that the model wants it to have; at the start they are 1 and 0.
#
# Pictures are often normalised over the *batch* instead, each feature with its mean over all examples. For texts this
# works badly. The result for one text would depend on the other texts of its batch and on their padding, and a text
# that comes alone would have no mean at all. Layer norm looks at one position of one text, in training and afterwards.

# %%
B, T, C, epsilon = 2, 5, 6, 0.1  # a large ε, so that its place matters
x, gamma, beta, dy = rng.normal(size=(B, T, C)), rng.normal(size=C), rng.normal(size=C), rng.normal(size=(B, T, C))
centred = x - x.mean(axis=-1, keepdims=True)
s = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
x_hat = centred / s
y = gamma * x_hat + beta
agree("layer norm and minilm.formulas", y, by_hand.layer_norm(x, gamma, beta, epsilon))
layer_norm = lambda *a: normalization.layer_norm(*a, epsilon)  # noqa: E731
agree("layer norm and minilm.layers  ", y, layer_norm(*[torch.tensor(a) for a in (x, gamma, beta)]))

# %% [markdown]
# Now the gradient, slowly. Let $g = dy \odot \gamma$ be the gradient that arrives at $\hat x$, and let
# $s = \sqrt{\sigma^2 + \varepsilon}$. Each $x_j$ has an effect in three ways: directly, through $\mu$
# ($\partial\mu/\partial x_j = 1/C$), and through $s$ ($\partial s/\partial x_j = \hat x_j/C$). Together this gives
#
# $$dx = \frac{1}{s}\Big(g - \mathrm{mean}(g) - \hat x \odot \mathrm{mean}(g \odot \hat x)\Big),$$
# $$d\gamma = \sum dy \odot \hat x, \qquad d\beta = \sum dy .$$
#
# Two parts are subtracted: the part along $(1, …, 1)$, which would only shift $x$, and the part along $\hat x$, which
# would only stretch it. The norm would undo both.

# %%
g = dy * gamma
dx = (g - g.mean(axis=-1, keepdims=True) - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)) / s
d_gamma, d_beta = (dy * x_hat).sum(axis=(0, 1)), dy.sum(axis=(0, 1))
machine = by_machine(layer_norm, (x, gamma, beta), dy)
page = by_hand.layer_norm_gradient(x, gamma, beta, epsilon, dy)
for name, ours, theirs, in_formulas in zip(("dx", "dγ", "dβ"), (dx, d_gamma, d_beta), machine, page):
    agree(f"{name} by hand and by autograd", ours, theirs)
    agree(f"{name} by hand and in minilm.formulas", ours, in_formulas)

# %% [markdown]
# **Wrong, then right.** Here are four mistakes that all run without an error. How easily you notice them depends on
# the input: at a width of 768 the unbiased variance is wrong by less than a tenth of a percent, and no test with a
# tolerance of 0.01 will ever see it.


# %%
def worst(wrong, x, epsilon):
    right = by_hand.layer_norm(x, np.ones(x.shape[-1]), np.zeros(x.shape[-1]), epsilon)
    return np.abs(wrong - right).max() / np.abs(right).max()


slips = {
    "unbiased variance": lambda x, e: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True, ddof=1) + e),
    "ε outside the root": lambda x, e: (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + e),
    "no ε": lambda x, e: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
    "over the batch": lambda x, e: (x - x.mean(0)) / np.sqrt(x.var(0) + e),
}
small, wide, faint = (
    (rng.normal(size=(7, 6)), 0.1),
    (rng.normal(size=(7, 768)), 1e-12),
    (1e-3 * rng.normal(size=(7, 6)), 1e-5),
)
print("relative error:          C = 6, ε = 0.1   C = 768, ε = 1e-12   faint rows, ε = 1e-5")
errors = {name: [worst(slip(*args), *args) for args in (small, wide, faint)] for name, slip in slips.items()}
for name, (a, b, c) in errors.items():
    print(f"{name:22} {a:14.1e} {b:19.1e} {c:22.1e}")
unbiased, without = errors["unbiased variance"], errors["no ε"]
claim(
    "The unbiased variance is wrong by more than 5 % at C = 6, by less than 0.1 % at C = 768.",
    unbiased[0] > 0.05 and unbiased[1] < 1e-3,
)
claim(
    "A missing ε is invisible on ordinary rows and completely wrong on faint ones.",
    without[1] < 1e-9 and without[2] > 1,
)

# %% [markdown]
# One more mistake hides in the *test*: the gradient of `y.sum()` with $\gamma = 1$ is exactly zero, because the sum
# of $\hat x$ is always 0. A formula that returns zeros passes such a test. Test with a random upstream gradient.

# %%
zero = by_machine(lambda x: layer_norm(x, torch.ones(C).double(), torch.zeros(C).double()), [x], np.ones_like(x))[0]
print(f"largest entry of dx: {zero.abs().max():.0e} for y.sum(), {np.abs(dx).max():.1f} for a random upstream gradient")
claim(
    "For y.sum() the gradient is zero, for a random one it is not.", zero.abs().max() < 1e-12 and np.abs(dx).max() > 0.3
)

# %% [markdown]
# **What to try.** Remove one of the two subtracted parts from `dx`, `- g.mean(axis=-1, keepdims=True)` or
# `- x_hat * (g * x_hat).mean(axis=-1, keepdims=True)`: how wrong is `dx`? Leave $\mu$ out of the forward computation
# altogether, `centred = x` (this is RMSNorm).
#
# <details><summary>Answers</summary>
#
# 1. Without the first, the gradient has a part along $(1, …, 1)$, which would only shift $x$; without the second, it
#    has one along $\hat x$, which would only stretch it. The norm undoes both, so neither may be there.
#
#    ```text
#    no longer equal: dx by hand and by autograd: they differ by 1.3e+00, more than 1e-10
#    no longer equal: dx by hand and by autograd: they differ by 1.5e+00, more than 1e-10
#    ```
# 2. This is a norm without the mean: it divides by the root of the mean square and leaves the offset of $x$ in
#    place. It is cheaper, and many models of today use it, but here it is not the same function.
#
#    ```text
#    no longer equal: layer norm and minilm.formulas: they differ by 1.7e+00, more than 1e-10
#    ```
#
# </details>
#
# **Exercises.** `minilm exercise start layer_norm` · `layer_norm_gradient`

# %% [markdown]
# ## GELU and the feed-forward network  (F20 · D4 §2.1.9)
# Attention mixes words, and apart from the way it computes its weights it is linear. The feed-forward network works on
# each word alone and adds the nonlinearity. Each of its $F$ units reacts to something in the vector of the word, and
# $W_2$ adds up what follows from that:
#
# $$\mathrm{FFN}(x) = W_2\,\mathrm{gelu}(W_1 x + b_1) + b_2, \qquad W_1\ [F, C], \quad W_2\ [C, F], \quad F = 4C \text{ as a rule.}$$
#
# GELU multiplies the value of each unit by $\Phi$, the share of a normal distribution that lies below this value. This
# is a soft gate, where ReLU, $\max(x, 0)$, has a hard one. By the product rule, the slope of GELU is $\Phi(x) +
# x\,\varphi(x)$:
#
# $$\mathrm{gelu}(x) = x\,\Phi(x) = x·\tfrac12\big(1 + \mathrm{erf}(x/\sqrt2)\big), \qquad \varphi(x) = e^{-x^2/2}/\sqrt{2\pi} .$$

# %%
from scipy.special import erf

x = np.linspace(-4, 4, 161)
share, density = 0.5 * (1 + erf(x / np.sqrt(2))), np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
agree("gelu and minilm.layers", x * share, library.gelu(torch.tensor(x)))
agree("its slope, by hand and by autograd", share + x * density, by_machine(library.gelu, [x], np.ones_like(x))[0])
agree("its slope, in minilm.formulas", share + x * density, by_hand.gelu_gradient(x, np.ones_like(x)))

# %%
picture, axes = panels(1, 2)
for axis, ours, relu, title in (
    (axes[0], x * share, np.maximum(x, 0), "The function"),
    (axes[1], share + x * density, (x > 0) * 1.0, "Its slope"),
):
    axis.plot(x, relu, color=plots.GREY, ls=":", label="ReLU")
    axis.plot(x, ours, color=plots.COLOURS[0], label="GELU")
    axis.set(title=title, xlabel="x")
axes[0].legend()
picture

# %% [markdown]
# A unit a little below zero still has a slope and can recover; with ReLU, which the first Transformer used, it has
# none. Many newer models replace the gate $\Phi$ by a learned one (SwiGLU): a second product with $x$ is multiplied by
# the first, entry by entry.
#
# Here are the whole network and its gradient, in the same lines as in `minilm/formulas/transformer.py`. The same weights
# serve at every position, so a word gets the same result whether it stands in a sentence or alone. (In the language of
# pictures these are two convolutions whose window is one word wide.)

# %%
F = 7
x, W_1, b_1, W_2, b_2 = (rng.normal(size=shape) for shape in ((B, T, C), (F, C), F, (C, F), C))
z = x @ W_1.T + b_1  # [B, T, F]
y = by_hand.gelu(z) @ W_2.T + b_2  # [B, T, C]
dz = by_hand.gelu_gradient(z, dy @ W_2)
dW_2, dW_1 = np.einsum("btc,btf->cf", dy, by_hand.gelu(z)), np.einsum("btf,btc->fc", dz, x)
layer = library.FeedForward(C, F).double()
with torch.no_grad():
    for ours, theirs in zip((W_1, b_1, W_2, b_2), layer.parameters()):
        theirs.copy_(torch.tensor(ours))
agree("FFN and minilm.layers", y, layer(torch.tensor(x)))
agree("the last word alone, and in its sentence", by_hand.feed_forward(x[:, -1:], W_1, b_1, W_2, b_2), y[:, -1:])
layer(torch.tensor(x)).backward(torch.tensor(dy))
agree("dW₁ by hand and by autograd", dW_1, layer.inner.weight.grad)
agree("dW₂ by hand and by autograd", dW_2, layer.outer.weight.grad)

# %% [markdown]
# **Wrong, then right.** There is a second GELU, the tanh approximation ("gelu_new"). Weights that were trained with
# one run with the other without an error, but the results are a little off. The difference is small, but every layer
# makes it.

# %%
x = np.linspace(-4, 4, 2001)
tanh_form = library.gelu_tanh(torch.tensor(x)).numpy()
apart = np.abs(tanh_form - by_hand.gelu(x)).max()
print(f"the two GELUs differ by at most {apart:.1e}: too much for a test to 1e-10, too little for the eye")
claim("They differ by more than 10⁻⁴ and by less than 10⁻³.", 1e-4 < apart < 1e-3)

# %% [markdown]
# **What to try.** Replace GELU by the identity, `y = z @ W_2.T + b_2`, and compare with
# `x @ (W_2 @ W_1).T + W_2 @ b_1 + b_2`: what can two linear layers then compute that one cannot?
#
# <details><summary>Answers</summary>
#
# 1. Nothing: the product of two matrices is again one matrix, so two linear layers can do what one can. It is the
#    function between them that makes the network more than a product.
#
#    ```text
#    one layer: equal to 4e-15
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start feed_forward`

# %% [markdown]
# ## The block, in two orders  (F20 · D4 §2.1.9)
# Attention and the feed-forward network each stand in a **residual**, $x + f(x)$: the layer computes only
# the *change*, and the gradient has a way around it. (Residuals made deep networks for pictures possible: He et al.,
# 2016.) And each gets a layer norm. The place of the norm makes two families:
#
# $$\text{post-norm:}\quad U = \mathrm{Norm}_1(X + \mathrm{Attention}(X)), \quad Y = \mathrm{Norm}_2(U + \mathrm{FFN}(U))$$
# $$\text{pre-norm:}\quad U = X + \mathrm{Attention}(\mathrm{Norm}_1(X)), \quad Y = U + \mathrm{FFN}(\mathrm{Norm}_2(U))$$
#
# Post-norm is the order of the first Transformer (2017) and of BERT. Pre-norm is the order of GPT-2 and of most
# models since.
#
# The gradient needs nothing new. A residual passes it on twice, once unchanged and once through $f$; everything else
# you have already. Here is post-norm, backwards:

# %%
B, T, H, C, F = 2, 5, 2, 6, 7
sizes = {"C": C, "3C": 3 * C, "F": F}
w = {name: rng.normal(size=[sizes[axis] for axis in axes.split()]) / 2 for name, axes in by_hand.BLOCK.items()}
X, dY = rng.normal(size=(B, T, C)), rng.normal(size=(B, T, C))
in_attention, in_norm_1, in_ffn, in_norm_2 = by_hand.parts(w)

R = X + attention.fused_self_attention(X, *in_attention, H)
U = by_hand.layer_norm(R, *in_norm_1)
S = U + by_hand.feed_forward(U, *in_ffn)
Y = by_hand.layer_norm(S, *in_norm_2)

dS, *_ = by_hand.layer_norm_gradient(S, *in_norm_2, by_hand.EPSILON, dY)
dU = dS + by_hand.feed_forward_gradient(U, *in_ffn, dS)[0]  # unchanged, and through the network
dR, *_ = by_hand.layer_norm_gradient(R, *in_norm_1, by_hand.EPSILON, dU)
dX = dR + attention.fused_self_attention_gradient(X, *in_attention, H, None, dR)[0]


# %%
def library_block(norm):
    """`minilm.layers.TransformerBlock` with the weights `w`."""
    block = library.TransformerBlock(C, H, F, norm=norm).double()
    order = (*by_hand.ATTENTION, *by_hand.NORM_1, *by_hand.FEED_FORWARD, *by_hand.NORM_2)
    with torch.no_grad():
        for name, parameter in zip(order, block.parameters()):
            parameter.copy_(torch.tensor(w[name]))
    return lambda x: block(x)[0]


agree("post-norm: Y here and in minilm.layers", Y, library_block("post")(torch.tensor(X)))
agree("post-norm: dX here and by autograd", dX, by_machine(library_block("post"), [X], dY)[0])
agree("post-norm: dX in minilm.formulas", dX, by_hand.post_norm_block_gradient(X, w, H, None, dY)[0])
pre = by_hand.pre_norm_block_gradient(X, w, H, None, dY)[0]
agree("pre-norm:  dX in minilm.formulas and by autograd", pre, by_machine(library_block("pre"), [X], dY)[0])

# %% [markdown]
# **Wrong, then right.** Forget the unchanged part in $dX$, so that the first residual passes its gradient on only once.
# The result has the right shape but the wrong size and direction.

# %%
once = dX - dR  # through attention only
cosine = (once * dX).sum() / np.linalg.norm(once) / np.linalg.norm(dX)
print(
    f"without the unchanged part: {np.linalg.norm(once) / np.linalg.norm(dX):.0%} of the right size, cosine {cosine:.2f}"
)
claim("The direction is wrong.", cosine < 0.95)

# %% [markdown]
# **Dropout** is missing in these formulas, because it works only in training. It sets each number to 0 with probability
# $p$ and divides the others by $1 - p$, so that the mean stays the same; no unit can then rely on any single other one.
# A Transformer has it in three places: on the weights of attention (so in training a row need not sum to 1), on the
# output of attention and of the feed-forward network before the residual adds it, and on the sum of the embeddings.
# Notebook 13 measures what it helps.

# %%
with torch.no_grad():
    dropping = library.TransformerBlock(C, H, F, dropout=0.5).double()  # a new block is in training mode
    first, second = (dropping(torch.tensor(X))[0] for _ in range(2))
    resting = dropping.eval()
    third, fourth = (resting(torch.tensor(X))[0] for _ in range(2))
print(
    f"the same input twice: {(first - second).abs().max():.1f} apart in training, {(third - fourth).abs().max():.0f} after .eval()"
)
claim(
    "In training two runs differ; after .eval() they do not.",
    [not torch.equal(first, second), torch.equal(third, fourth)],
)

# %% [markdown]
# So call `.eval()` before you compare or predict anything. It is forgotten often, and no error tells you.
#
# **What to try.** Set $W_2, b_2, W^O, b_O$ to zero, `w |= {name: 0 * w[name] for name in ("W_2", "b_2", "W_O", "b_O")}`
# below the line of `w`: what do a pre-norm and a post-norm block compute now, and what is $dX$?
#
# <details><summary>Answers</summary>
#
# 1. Then each $f(x)$ is 0. Pre-norm hands $X$ through unchanged, so $dX = dY$. Post-norm still normalises twice, and
#    $dX$ is the gradient of these two norms; through attention comes nothing. A pre-norm block that starts like this
#    does no harm before it has learned something.
#
#    ```text
#    without the unchanged part: 0% of the right size, cosine nan
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start block`

# %% [markdown]
# ## Many blocks at the start  (F20 · D4 §2.1.9)
# Now we take a stack of $L$ blocks that have learned nothing. Their random weights are drawn so that every product
# keeps the size of its input: from a normal distribution with the variance 1/(number of inputs), which the library
# calls `fan-in`. (Glorot's start, or Xavier's, takes the mean of inputs and outputs instead. BERT's published start,
# `published`, is smaller: mean 0 and standard deviation 0.02 everywhere, for short $N(0, 0.02^2)$.) We compare three
# orders: post-norm, pre-norm, and one **without residual**. For every block we measure three things: how alike the
# words have become (the mean cosine of the vectors of two words; 1 means that they point the same way), the norm of the
# gradient of $W_1$, and the norm of the gradient of $W^Q$ and $W^K$, which decides whether attention can learn where to
# look.
#
# **Predict first.** Without a residual, each block replaces a word by an average. After how many blocks are all words
# the same?
#
# <details><summary>Answer</summary>
#
# After four: each average of averages is nearer to the average of all. With a residual a word keeps a share of itself,
# and it depends on the place of the norm how long.
#
# </details>

# %%
from minilm import AdamW, cross_entropy, initialise
from minilm.training.optimizer import clip_gradients, parameter_groups  # notebooks 09 and 01


def post_norm(block, x):
    x = block.attention_norm(x + block.attention(x)[0])
    return block.feed_forward_norm(x + block.feed_forward(x))


def pre_norm(block, x):
    x = x + block.attention(block.attention_norm(x))[0]
    return x + block.feed_forward(block.feed_forward_norm(x))


def no_residual(block, x):
    x = block.attention(block.attention_norm(x))[0]
    return block.feed_forward(block.feed_forward_norm(x))


block, x = library.TransformerBlock(8, 2, 16), torch.tensor(rng.normal(size=(2, 5, 8))).float()
agree("post_norm and TransformerBlock", post_norm(block, x), block(x)[0], atol=1e-6)
block.norm = "pre"
agree("pre_norm and TransformerBlock ", pre_norm(block, x), block(x)[0], atol=1e-6)


# %%
class Stack(nn.Module):
    """Words and positions, L blocks in one of the three orders, a norm, and a logit for each of 32 words."""

    def __init__(self, order, L, C, scheme="fan-in", scale=1.0, seed=0):
        super().__init__()
        self.order, self.states = order, []
        self.words, self.places, self.head = nn.Embedding(32, C), nn.Embedding(16, C), nn.Linear(C, 32)
        self.blocks = nn.ModuleList(library.TransformerBlock(C, 4, 2 * C) for _ in range(L))
        self.norm_in, self.norm_out = normalization.LayerNorm(C), normalization.LayerNorm(C)
        initialise(self, scheme, torch.Generator().manual_seed(seed))
        for parameter in self.parameters():
            if parameter.dim() == 2:  # the weights, without the biases and the gains of the norms
                parameter.data *= scale

    def forward(self, ids):
        x = self.norm_in(self.words(ids) + self.places.weight)  # [B, T, C]
        self.states = []
        for block in self.blocks:
            x = self.order(block, x)
            self.states.append(x)
        return self.head(self.norm_out(x))


def batch(draw, T=16):
    """Random words; the label of each place is the word on its left, which only attention can bring."""
    ids = torch.randint(32, (16, T), generator=draw)
    wanted = torch.full_like(ids, -100)
    wanted[:, 1:] = ids[:, :-1]
    return ids, wanted


# %%
def at_the_start(order, L=24):
    model, (ids, wanted) = Stack(order, L, C=64), batch(torch.Generator().manual_seed(0))
    cross_entropy(model(ids), wanted).value.backward()
    unit = [nn.functional.normalize(x.detach(), dim=-1) for x in model.states]
    pairs = ~torch.eye(16, dtype=torch.bool)
    alike = [(x @ x.mT)[:, pairs].mean().item() for x in unit]  # cosine of each pair of words of a sentence
    W_1 = [block.feed_forward.inner.weight.grad.norm().item() for block in model.blocks]
    W_QKV = [block.attention.to_qkv.weight.grad for block in model.blocks]  # each [3C, C]
    W_QK = [gradient[: len(gradient) * 2 // 3].norm().item() for gradient in W_QKV]
    return {"alike": np.array(alike), "W_1": np.array(W_1), "W_QK": np.array(W_QK)}


orders = {"post-norm": post_norm, "pre-norm": pre_norm, "no residual": no_residual}
start = {name: at_the_start(order) for name, order in orders.items()}

# %%
picture, axes = panels(1, 3, width=11, height=3.3)
titles = {"alike": "Cosine of two words", "W_1": "Gradient norm of W₁", "W_QK": "Gradient norm of W^Q, W^K"}
for axis, (key, title) in zip(axes, titles.items()):
    for (name, measured), colour in zip(start.items(), plots.COLOURS):
        axis.plot(np.arange(len(measured[key])) + 1, measured[key], color=colour, label=name)
    axis.set(title=title, xlabel="block")
for axis, ticks in zip(axes[1:], ([0.1, 1], [1, 1e-2, 1e-4, 1e-6])):
    axis.set(yscale="log")
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
axes[0].legend(fontsize=9)
picture

# %%
for name, m in start.items():
    W_1, W_QK = m["W_1"][0] / m["W_1"][-1], m["W_QK"][0] / m["W_QK"][-1]
    print(
        f"{name:12} cosine at the top {m['alike'][-1]:.2f}; gradient bottom / top: W₁ {W_1:.1f}, W^Q and W^K {W_QK:.0e}"
    )
post, pre, bare = (start[name] for name in orders)
claim("Without a residual all words are the same after 4 blocks.", bare["alike"][3:4] > 0.99)
claim("In post-norm they still differ after 2 blocks.", post["alike"][1:2] < 0.5)
claim("In post-norm they are the same after 16 blocks.", post["alike"][15:16] > 0.99)
claim("In pre-norm they differ at the top.", pre["alike"][-1] < 0.9)
fall = {name: m["W_QK"][0] / m["W_QK"][-1] for name, m in start.items()}
claim("In post-norm the gradient of W^Q and W^K falls by more than 1000 towards the top.", fall["post-norm"] > 1e3)
claim("In pre-norm it falls by less than 100.", fall["pre-norm"] < 100)
claim("In pre-norm the gradient of W₁ falls to less than half.", pre["W_1"][0] > 2 * pre["W_1"][-1])
claim("At the top it is less than half of what it is in post-norm.", pre["W_1"][-1] < 0.5 * post["W_1"][-1])

# %% [markdown]
# Read the panels from left to right. Without a residual, after four blocks of averaging *all words are the same
# word*, and nothing can tell them apart any more. Post-norm gets there after some fifteen blocks: each norm brings
# the sum of "the word as it was" and "the average of all words" back to one size, so the share of what a word once
# was shrinks with each block. In pre-norm the sum only grows: what a word once was stays in it, and each new average
# weighs less.
#
# **Wrong, then right.** "The gradients of $W_1$ all have about the same size, so the stack is healthy." They do, in
# every order; in pre-norm they fall a little towards the top, because each block adds to a sum that has grown (Xiong
# et al., 2020). But the third panel matters more. Where words are alike, their values are alike too. Then it makes no
# difference where a query looks, and the gradient of the scores *must* be zero: $dA = dY\,V^\top$ is constant along
# each row, and the softmax subtracts the weighted mean of the row (notebook 04). Attention in the upper blocks cannot
# learn where to look. Dong et al. (2021), *Attention is not all you need*, call this rank collapse.

# %%
A = rng.dirichlet(np.ones(5), size=5)  # any weights [T, S]
same = np.tile(rng.normal(size=C), (5, 1))  # five words that are all the same word [S, C]
dZ = attention.softmax_gradient(A, rng.normal(size=(5, C)) @ same.T)
print(f"gradient of the scores when all values are equal: {np.abs(dZ).max():.0e}")
claim("It is zero.", np.abs(dZ).max() < 1e-12)

# %% [markdown]
# **What to try.** Pass `scheme="published"` to the `Stack` of `at_the_start`: where has the collapse gone? Take 6
# blocks instead of 24, `at_the_start(order, L=6)`.
#
# <details><summary>Answers</summary>
#
# 1. It is gone in all orders with a residual: small weights make each $f(x)$ so small that a word stays almost
#    itself through 24 blocks. Without a residual nothing is left of $x$ but $f(x)$, so small weights do not help.
#
#    ```text
#    post-norm    cosine at the top 0.03; gradient bottom / top: W₁ 1.0, W^Q and W^K 9e-01
#    pre-norm     cosine at the top 0.03; gradient bottom / top: W₁ 1.0, W^Q and W^K 9e-01
#    no residual  cosine at the top 1.00; gradient bottom / top: W₁ 1.2, W^Q and W^K 3e+06
#    ```
# 2. In six blocks post-norm has not collapsed yet, and the gradient of $W^Q$ and $W^K$ still reaches the top. The
#    stack without residual has collapsed: four blocks are enough for it.
#
#    ```text
#    post-norm    cosine at the top 0.76; gradient bottom / top: W₁ 0.8, W^Q and W^K 3e+00
#    no residual  cosine at the top 1.00; gradient bottom / top: W₁ 0.4, W^Q and W^K 4e+06
#    ```
#
# </details>

# %% [markdown]
# ## What happens in training  (F20 · D4 §2.1.9)
# We train twelve blocks without warm-up on a task that one block can solve (name the word on the left). There are
# four starts: the three orders, and post-norm once more with BERT's small weights (`published`). Small weights make
# each $f(x)$ in $x + f(x)$ very small, so a word stays almost what it was.
#
# **Predict first.** Which of the four learn the task, and which stay at the level of guessing, $\log 32 = 3.47$ nats?
#
# <details><summary>Answer</summary>
#
# Pre-norm learns it, and post-norm does from small weights. Post-norm from the usual weights and the stack without
# residual stay at the level of guessing: in their upper blocks all words are alike, as you have just seen.
#
# </details>


# %%
def train(order, scheme, scale, L, steps, learning_rate=3e-3, warm_up=1):
    model, draw, losses = Stack(order, L, 32, scheme, scale), torch.Generator().manual_seed(0), []
    optimizer = AdamW(parameter_groups(model))
    for step in range(steps):
        ids, wanted = batch(draw)
        loss = cross_entropy(model(ids), wanted).value
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step(learning_rate * min(1, (step + 1) / warm_up))
        losses.append(loss.item())
    return np.array(losses)


runs = {
    "post-norm": (post_norm, "fan-in", 1),
    "pre-norm": (pre_norm, "fan-in", 1),
    "no residual": (no_residual, "fan-in", 1),
    "post-norm, small weights": (post_norm, "published", 1),
}
L, steps = (3, 10) if FAST else (12, 160)
losses = {name: train(*how, L, steps) for name, how in runs.items()}

# %%
picture, axis = panels(1, 1, width=8, height=3.6)
for (name, curve), colour in zip(losses.items(), plots.COLOURS):
    axis.plot(curve, color=colour, label=name, lw=1.6, ls="--" if name == "no residual" else "-")
axis.axhline(np.log(32), color=plots.GREY, ls=":", label="guessing: log 32")
axis.set(
    title=f"{L} blocks: name the word on the left",
    xlabel="step",
    ylabel="loss (nats)",
    ylim=(0, 4.5),
)
axis.legend(loc="lower left", fontsize=10)
picture

# %%
last = {name: curve[-10:].mean() for name, curve in losses.items()}
print({name: round(float(value), 2) for name, value in last.items()}, "guessing:", np.log(32).round(2))
if not FAST:
    claim(
        "Post-norm and no residual stay at the level of guessing.",
        last["post-norm"] > 3.3 and last["no residual"] > 3.3,
    )
    claim("Pre-norm learns the task.", last["pre-norm"] < 1)
    claim("Post-norm with small weights learns it, too.", last["post-norm, small weights"] < 1.5)

# %% [markdown]
# Post-norm and no residual stay at the level of guessing, because their attention cannot start to learn. Pre-norm
# learns the task from the same weights. And post-norm is not broken: with small weights it learns the task too. BERT is
# a post-norm model of twelve blocks that starts from $N(0, 0.02^2)$ and uses a warm-up, and now you see why. (The first
# Transformer, post-norm as well, warmed up for 4,000 steps, then let the learning rate fall like $1/\sqrt{\text{step}}$.)
# The order of the norms and the size of the first weights are one decision, not two.
#
# **Wrong, then right.** "Pre-norm costs nothing." It needs one thing in return, which is easy to forget: nothing has
# normalised the sum, and it grows with the number of blocks. So a pre-norm stack needs one more norm at its end
# (`TransformerStack` in `minilm/layers/transformer.py` has it).
#
# **Predict first.** How large are the vectors at the top of 32 blocks, if they have the standard deviation 1 at the
# bottom?
#
# <details><summary>Answer</summary>
#
# In post-norm still 1, because the last step of every block is a norm. In pre-norm more than 5: each block adds its own
# part, and independent parts add like the root of their number.
#
# </details>


# %%
def size_at_the_top(order, L):
    model = Stack(order, L, C=64)
    model(batch(torch.Generator().manual_seed(0))[0])
    return model.states[-1].std().item()


grown = {L: (size_at_the_top(pre_norm, L), size_at_the_top(post_norm, L)) for L in (2, 8, 32)}
for L, (pre, post) in grown.items():
    print(f"{L:2} blocks: standard deviation of the output {pre:.1f} with pre-norm, {post:.1f} with post-norm")
pre, post = np.array(list(grown.values())).T
claim("In pre-norm the sum more than doubles with the number of blocks.", pre[-1] > 2 * pre[0])
claim("In post-norm it keeps the size 1.", np.abs(post - 1) < 0.01)

# %% [markdown]
# **What to try.** Use two blocks instead of twelve, `L = 2` above the line of `losses`: which orders learn now? Use a
# warm-up of 60 steps, `warm_up=60`: does post-norm from `fan-in` learn now? Double the standard deviation of the small
# weights, `(post_norm, "published", 2)`, and double it again until training breaks.
#
# <details><summary>Answers</summary>
#
# 1. All that have a residual. In two blocks no words have become the same, so attention can learn, whatever the
#    order.
#
#    ```text
#    {'post-norm': 0.04, 'pre-norm': 0.03, 'no residual': 2.74, 'post-norm, small weights': 0.15} guessing: 3.47
#    ```
# 2. It begins to move, but it does not learn within these steps. A warm-up keeps the first steps small, but it
#    cannot undo that the words are already the same before the first step.
#
#    ```text
#    {'post-norm': 3.36, 'pre-norm': 0.41, 'no residual': 3.47, 'post-norm, small weights': 0.18} guessing: 3.47
#    ```
# 3. Twice and four times the standard deviation learn even sooner. With eight times, 0.16, the weights are nearly
#    those of `fan-in`, $1/\sqrt{32} = 0.18$, and nothing is learned any more.
#
#    ```text
#    {'post-norm': 3.45, 'pre-norm': 0.02, 'no residual': 3.47, 'post-norm, small weights': 0.07} guessing: 3.47
#    {'post-norm': 3.45, 'pre-norm': 0.02, 'no residual': 3.47, 'post-norm, small weights': 0.41} guessing: 3.47
#    {'post-norm': 3.45, 'pre-norm': 0.02, 'no residual': 3.47, 'post-norm, small weights': 3.45} guessing: 3.47
#    ```
#
# </details>

# %% [markdown]
# ## Three ways to start  (F18, F20 · D4 §2.1.9)
# $N(0, 0.02^2)$ is right for BERT's width of 768. What does it do at the width of 128 that a laptop can train? After
# a layer norm the entries of $x$ have variance 1. Those of $q = W^Q x$ then have variance $C\sigma^2$, and the scores
# have the standard deviation
#
# $$\mathrm{std}\left(\frac{q · k}{\sqrt D}\right) = C\,\sigma^2 .$$
#
# With $\sigma = 0.02$ that is 0.31 at $C = 768$, and 0.05 at $C = 128$.
#
# With $\sigma^2 = 1/C$ (`fan-in`) it is 1 at every width, which is the purpose of the $\sqrt D$. We measure it on a
# real sentence, in models of several widths:

# %%
from minilm import BertForPretraining, TransformerConfig
from minilm.text.corpus import labelled

texts = [example.text.split() for example in labelled("rotten-tomatoes")]
vocabulary = ["[PAD]", "[UNK]", *(word for word, _ in Counter(w for text in texts for w in text).most_common(1998))]
number = {word: i for i, word in enumerate(vocabulary)}
words = "the plot is thin , but the cast is a delight .".split()[:32]
sentence = torch.tensor([[number.get(word, 1) for word in words]])  # 1 is [UNK]


def started(scheme, width=128, heads=4):
    config = TransformerConfig(len(vocabulary), width, layers=1, heads=heads, feed_forward=width, max_length=32)
    model = BertForPretraining(config)
    initialise(model, scheme, torch.Generator().manual_seed(0))
    return model


def scores(model):
    """Q Kᵀ / √D [H, T, T] of the first layer."""
    with torch.no_grad():
        first = model.encoder.stack.layers[0].attention
        q, k, _ = first.project(model.encoder.embeddings(sentence), None)  # each [1, H, T, D]
        return (q @ k.mT / q.size(-1) ** 0.5)[0]


# %%
widths = (64, 128, 256) if FAST else (64, 128, 256, 512, 768)
spread = {scheme: [scores(started(scheme, C)).std().item() for C in widths] for scheme in ("published", "fan-in")}
expected = np.array(widths) * 0.02**2
times = np.array(spread["fan-in"]) / spread["published"]
for row in zip(widths, spread["published"], expected, spread["fan-in"], times):
    print(
        "width {:3}: std of the scores {:.3f} published (C σ² = {:.3f}), {:.2f} fan-in, {:.0f} times as much".format(
            *row
        )
    )

# %% [markdown]
# A softmax of numbers that are all nearly 0 is nearly uniform: each of the $T$ words gets $1/T$, whichever query
# looks. And it stays like this for a while, because the gradient that could change it is small as well:
# $dQ = dZ\,K/\sqrt D$ has the small $K$ as a factor. To see this, take the first training step on masked words and
# compute which share of the attention's gradient goes to $W^Q$ and $W^K$.


# %%
def share_of_queries_and_keys(scheme):
    masked = torch.tensor([len(words) // 4, len(words) * 2 // 3])  # guess two of the words
    model, shown = started(scheme), sentence.clone()
    shown[0, masked] = 1
    cross_entropy(model(shown, masked=masked).mlm_logits, sentence[0, masked]).value.backward()
    gradient = model.encoder.stack.layers[0].attention.to_qkv.weight.grad  # [3C, C]
    return (gradient[: len(gradient) * 2 // 3].norm() / gradient.norm()).item()


shares = {scheme: share_of_queries_and_keys(scheme) for scheme in ("published", "fan-in")}
print({scheme: f"{share:.1%}" for scheme, share in shares.items()})

# %%
head = 1
maps = {scheme: scores(started(scheme)).softmax(dim=-1).numpy() for scheme in ("published", "fan-in", "neighbours")}
picture, axes = panels(1, 4, width=12, height=3.1)
for values, (name, colour) in zip(spread.values(), zip(("published: N(0, 0.02²)", "fan-in: N(0, 1/C)"), plots.COLOURS)):
    axes[0].plot(widths, values, "o-", color=colour, label=name)
axes[0].set(title="Std of the scores", xlabel="width C", ylim=(0, 1.9))
axes[0].legend(fontsize=9)
for axis, (scheme, weights) in zip(axes[1:], maps.items()):
    axis.imshow(weights[head - 1], cmap="Blues", vmin=0, vmax=1)
    axis.set(title=f"{scheme}: head {head}", xlabel="key")
    axis.set_xticks(range(len(words)), words, rotation=90, fontsize=8)
    axis.set_yticks(range(len(words)), words if axis is axes[1] else [], fontsize=8)
axes[1].set_ylabel("query")
picture

# %%
largest = {scheme: round(float(weights[head - 1].max(axis=-1).mean()), 2) for scheme, weights in maps.items()}
uniform = 1 / len(words)
print(f"largest weight of a row, head {head}: {largest}; if all were equal: {uniform:.2f}")
claim("From published, the scores have the standard deviation C σ².", np.abs(spread["published"] / expected - 1) < 0.35)
claim("From fan-in, they have the standard deviation 1.", np.abs(np.array(spread["fan-in"]) - 1) < 0.35)
claim(
    "At width 128 that is about twenty times as much.", [15 < times[i] < 25 for i, C in enumerate(widths) if C == 128]
)
claim("The share of W^Q and W^K is more than four times as large.", shares["fan-in"] > 4 * shares["published"])
claim("From published, a word gets hardly more than an equal share.", largest["published"] < 1.2 * uniform)
claim("From fan-in, it gets more than twice that.", largest["fan-in"] > 2 * uniform)
claim("From neighbours, it gets more than 60 %.", largest["neighbours"] > 0.6)

# %% [markdown]
# At this width, a head that starts from `published` takes a plain average of the sentence. One that starts from
# `fan-in` looks somewhere, at random. `neighbours` (`minilm/models/initialisation.py`) goes a step further: it *builds*
# two heads that look left and right, and others that look for words like their own. This model has learned positions, so
# the start uses the waves of notebook 06: $K$ reads the clock, and $Q$ reads it turned by one word. With a bias by
# relative position, one number per head does the same.
#
# The command `minilm bench initialisation` measures what this is worth when a model is pretrained on real text for
# some minutes; the figures stand in `minilm/experiments/RECIPE.md`.
#
# **Wrong, then right.** "So small weights are bad." In the previous section, twelve post-norm blocks learned from small
# weights and *not* from `fan-in`. With two or three blocks, the depth for a laptop, words do not collapse, and uniform
# attention is what costs time. A start is right for a width, a depth, an order of the norms and a training time, never
# by itself.

# %% [markdown]
# **What to try.** Let `model = started("published")` and `model.encoder.stack.layers[0].attention.to_qkv.weight.data *=
# 5`: what does the map `scores(model).softmax(dim=-1)[0]` look like? Look at heads 3 and 4 of `neighbours`, `head = 3`
# and `head = 4`: two words occur twice in the sentence.
#
# <details><summary>Answers</summary>
#
# 1. Queries and keys both become five times as large, so the scores become 25 times as large: 25 · 0.048 = 1.2. The
#    map looks like the one of `fan-in`: no longer uniform, and still at random. A factor of
#    $1/(0.02 \sqrt{128}) = 4.4$ would *be* `fan-in`.
# 2. Heads 3 and 4 look for similar words: the second *the* looks at the first, the second *is* at the first one, and
#    a word that occurs once looks mostly at itself.
#
#    ```text
#    largest weight of a row, head 3: {'published': 0.09, 'fan-in': 0.22, 'neighbours': 0.95}
#    largest weight of a row, head 4: {'published': 0.09, 'fan-in': 0.23, 'neighbours': 0.88}
#    ```
#
# </details>

# %% [markdown]
# ## From blocks to a model  (F20 · D4 §2.1.9)
# What does a whole BERT have besides its blocks? In front of them, three tables: one row per token, one per position,
# and one for each of two segments (which of two texts a token belongs to). Their three rows are added and normalised.
# Behind the blocks, a *head* that gives each position a logit for each token of the vocabulary. It multiplies by the
# table of tokens, transposed, so one table serves to read and to write (the table is *tied*, Press and Wolf, 2017). The
# same block makes three families:
#
# | family | what a position sees | example |
# |---|---|---|
# | encoder | both sides | BERT |
# | decoder | the left side, by the causal mask | GPT |
# | encoder and decoder | the decoder also sees the encoder's output, by cross-attention (notebook 05) | the first Transformer |
#
# A decoder then writes word by word (notebook 17). And the tokens need not be words: cut a picture into squares, turn
# each into a vector by one matrix, and the same blocks read it (Dosovitskiy et al., 2021; notebook 20 takes pixels).
#
# How many numbers does such a model learn? We build the published BERT, with the shapes alone: on the device "meta",
# tensors have no content.

# %%
with torch.device("meta"):
    config = TransformerConfig(30522, 768, layers=12, heads=12, feed_forward=3072, max_length=512)
    bert = BertForPretraining(config)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


block, all_blocks = bert.encoder.stack.layers[0], count(bert.encoder.stack)
tables = count(bert.encoder.embeddings)
counts = {"the tables": tables, "all blocks": all_blocks, "what pretraining adds": count(bert) - all_blocks - tables}
for name, number_of in counts.items():
    print(f"{name:21} {number_of:12,}   {number_of / count(bert):4.0%}")
print(f"{'together':21} {count(bert):12,}   {count(bert) * 4 / 1e6:.0f} MB with four bytes each")
print(
    f"one block {count(block):,}, of these {count(block.feed_forward) / count(block):.0%} in the feed-forward network"
)

# %%
C, F, L = config.width, config.feed_forward, config.layers
attention_part, network_part, norm_part = 4 * C * C + 4 * C, 2 * F * C + F + C, 2 * 2 * C
claim(
    "A block has 4 C² + 4 C, 2 F C + F + C, and 4 C parameters.",
    count(block) == attention_part + network_part + norm_part,
)
claim("All blocks have L times as many.", all_blocks == L * count(block))
claim("The blocks hold more than half of the parameters.", all_blocks > count(bert) / 2)

# %% [markdown]
# With $F = 4C$ this is about $12\,C^2$ per block: twice the width makes it four times as large. The number of heads is
# not in it. Training needs about four times the memory of the weights, because each of them has a gradient, and AdamW
# keeps two means for each; the states of all layers come on top.
#
# **What to try.** Count the smallest GPT-2, whose only other sizes are `50257` tokens and `max_length=1024`: which part
# has grown?
#
# <details><summary>Answers</summary>
#
# 1. The tables, because the vocabulary is larger by 20,000 tokens. The twelve blocks are exactly as large as BERT's.
#    Without what our class adds for BERT's pretraining, the sum is the 124 million that one reads of GPT-2.
#
#    ```text
#    the tables              39,386,880    31%
#    all blocks              85,054,464    68%
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
#
# 1. A block is attention and a feed-forward network, each with a residual around it and a layer norm.
# 2. Layer norm brings every position to one size over its own features, with the biased variance and ε inside the root.
# 3. Post-norm puts the norm on the way of x, and deep stacks of it make all words alike; pre-norm keeps the way free
#    and needs one norm more at the end.
# 4. The order of the norms, the size of the first weights and the depth are one decision: small weights save post-norm,
#    and a warm-up helps.
# 5. A block has about 12 C² parameters, two thirds of them in the feed-forward network; the number of heads is not
#    among its terms.
#
# **Where to read on.**
#
# * Xiong and others, 2020, *On Layer Normalization in the Transformer Architecture* (arXiv:2002.04745)
# * Dong, Cordonnier and Loukas, 2021, *Attention is not all you need: pure attention loses rank doubly exponentially
#   with depth* (arXiv:2103.03404)
# * Ba, Kiros and Hinton, 2016, *Layer Normalization* (arXiv:1607.06450), and Hendrycks and Gimpel, 2016, *Gaussian
#   Error Linear Units* (arXiv:1606.08415)
# * Rush, Huang and others, *The Annotated Transformer*: the whole model, line by line
# * Raschka, 2024, *Build a Large Language Model (From Scratch)*, chapters 3 and 4: the same block for a GPT
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---|---|
# | `layer_norm` | 15 | easy |
# | `layer_norm_gradient` | 40 | hard |
# | `feed_forward` | 15 | easy |
# | `block` | 30 | medium |
