# %% [markdown]
# # 08 · Recurrence: one cell, used at every step
#
# > **Minutes.** 1 to run, about 60 to read and try.
# >
# > **You need** gradients by hand and finite differences ([notebook 02](02_gradients.ipynb)).
# >
# > **Afterwards you can** build a recurrent network from its formula, send a gradient back through time with a pencil,
# > prove that three printed gradients are wrong, and say why such a network uses tanh and not ReLU.
# >
# > **The documents.** D1 §4.2:
# > “然后，通过反向传播算法计算梯度，并对模型参数进行更新：”
# > (then the gradient is computed by backpropagation, and the parameters of the model are updated; three wrong formulas
# > follow).
# >
# > **Words.** A [nat](GLOSSARY.md#words-that-the-notebooks-use) is the unit of a loss; D1, F09, `agree`, `claim` and `FAST`
# > are explained in [notebook 01](01_learning_from_data.ipynb) and in the
# > [glossary](GLOSSARY.md#words-that-the-notebooks-use).
#
# Letters: $T$ steps, $I$ features of an input, $H$ units in the state, $V$ words in the vocabulary.

# %%
import numpy as np
import torch

from minilm import cross_entropy
from minilm.formulas.rnn import (
    norms_through_time,
    rnn,
    rnn_loss,
    rnn_loss_gradients,
    rnn_loss_gradients_as_printed,
    rnn_loss_gradients_repaired_as_printed,
    rnn_output,
)
from minilm.layers.recurrent import Recurrent
from minilm.viz import schematics
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # products as small as ours are faster without a second thread

# %% [markdown]
# ## A state that is handed on  (F09, F10 · D1 §4.1)
# Before the Transformer there was the recurrent network (循环神经网络), and D1 builds its language model on it. It reads a
# text word by word, from left to right, and carries a memory along, its **state**. At every step it mixes the new word
# with the state, and the mixture is the new state:

# %%
schematics.rnn_cell()

# %% [markdown]
# From the state it also makes a prediction. In formulas:
#
# $$h_t = \tanh(W_h h_{t-1} + W_x x_t + b_h) \qquad \hat y_t = \mathrm{softmax}(W_y h_t + b_y)$$
#
# There are $T$ steps; input $x_t$ [I], hidden state $h_t$ [H], probabilities $\hat y_t$ [V]; $W_h$ [H, H], $W_x$ [H,
# I], $b_h$ [H], $W_y$ [V, H], $b_y$ [V]. Every step uses the same weights. (D1 prints $\sigma$ instead of tanh and
# says "usually ReLU"; more on that below.)

# %%
T, I, H, V = 9, 3, 5, 4
x, h0 = rng.normal(size=(T, I)), np.zeros(H)
W_h, W_x, b_h, W_y, b_y = (rng.normal(size=s) / 2 for s in ((H, H), (H, I), (H,), (V, H), (V,)))

h, states = h0, []
for x_t in x:
    h = np.tanh(W_h @ h + W_x @ x_t + b_h)
    states.append(h)
h = np.stack(states)  # [T, H]
z = h @ W_y.T + b_y
y_hat = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)  # [T, V]
agree("F09, in minilm/formulas/rnn.py", h, rnn(x, h0, W_h, W_x, b_h))
agree("F10", y_hat, rnn_output(h, W_y, b_y))

# %% [markdown]
# One cell, used at every step. Drawn once for each step, the network looks like this (it is *unrolled*):

# %%
schematics.rnn_unrolled()

# %% [markdown]
# The same line stands in `minilm/layers/recurrent.py`, in the class `RNNCell`, and that is the one that gets trained.
# The function `library` puts our weights into it. Its first argument is the kind of cell, because notebook 09 has others.


# %%
def library(kind, **weights):
    """The library's layer with our weights: it takes x [B, T, I] and returns every state [B, T, H] and the last one."""
    rows, I = weights["W_x"].shape
    layer = Recurrent(kind, I, weights["W_h"].shape[1]).double()
    layer.load_state_dict({f"cells.0.{name}": torch.tensor(weight) for name, weight in weights.items()})
    return layer


layer = library("rnn", W_h=W_h, W_x=W_x, b=b_h)
agree("F09, in minilm/layers/recurrent.py", h, layer(torch.tensor(x)[None])[0][0])

# %% [markdown]
# How long does the network remember? Push it once, at step 1, and give it silence from then on. $W_h$ is a random
# rotation times a factor. With a factor below 1, every step takes a little away. At 1 a linear network would remember
# for ever, but tanh shrinks the state at every step. Above 1 the state stays large, and yet in the end it tells you
# little about the push, because it would be just as large after a different one.
#
# **Predict first.** With the factor 1, a rotation keeps every length. Is the push still there after 60 steps?
#
# <details><summary>Answer</summary>
#
# Only a part of it. The rotation loses nothing, but tanh makes every number a little smaller at every step, and the
# losses add up.
#
# </details>

# %%
turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]  # a rotation: it keeps every length
bias = np.zeros(16)
push = np.zeros((60, 1))
push[0] = 1
picture, axis = panels(width=5.6, height=2.7)
for factor, colour in zip((0.8, 0.95, 1.0, 1.2), COLOURS):
    memory = rnn(push, np.zeros(16), factor * turn, np.ones((16, 1)), bias)
    axis.plot(
        np.arange(len(push)) + 1, np.linalg.norm(memory, axis=1), color=colour, label=f"W_h = {factor} · rotation"
    )
    print(f"factor {factor:4g}: length of the state {np.linalg.norm(memory[-1]):.4f} at the last step")
axis.set(xlabel="step", ylabel="‖h‖", title="What is left of one push", ylim=(0, 4.2))
axis.legend(ncols=2, fontsize=10)
picture

# %% [markdown]
# **Wrong, then right.** D1 writes the one letter $\sigma$ both for the activation in F09, "usually ReLU", and for the
# prediction in F10. Let us take this literally and use ReLU in both:

# %%
as_one_letter = np.maximum(z, 0)
print("rows of ReLU(W_y h + b_y) sum to", as_one_letter.sum(axis=1).round(2)[:5], "…")
print("rows of softmax(W_y h + b_y) sum to", y_hat.sum(axis=1).round(2)[:5], "…")
claim("With ReLU, some words get exactly 0.", (as_one_letter == 0).any())
claim("With softmax, every row sums to 1.", np.allclose(y_hat.sum(axis=1), 1))

# %% [markdown]
# Those rows are not probabilities, and where a row holds a zero, log 0 makes the loss infinite. The two functions are
# of different kinds: an activation looks at each number alone, while softmax looks at the whole row.
#
# **What to try.** Add −0.95 to the four factors of the picture: does the state shrink more slowly? · Push a second time
# at step 30, `push[29] = 1`: does the state tell you that there were two pushes? · Use a `bias` other than zero,
# `np.full(16, 0.3)`, and look at 1.2 again.
#
# <details><summary>Answers</summary>
#
# 1. No: the state has exactly the same length as with 0.95. It changes its sign at every step, and tanh treats both
#    signs alike.
#
#    ```text
#    factor 0.95: length of the state 0.0482 at the last step
#    factor -0.95: length of the state 0.0482 at the last step
#    ```
# 2. Its length is larger than after one push (0.0482 with the factor 0.95), because the second push is more recent.
#    But the length alone cannot say whether there were two pushes or a single later one. At 1.2 there is hardly a
#    difference (it is 1.7896 after one push).
#
#    ```text
#    factor 0.95: length of the state 0.2183 at the last step
#    factor  1.2: length of the state 1.7565 at the last step
#    ```
# 3. Now the state moves to a length that the bias decides, whether there was a push or not: a network that is always
#    excited remembers nothing.
#
#    ```text
#    factor  1.2: length of the state 2.0797 at the last step
#    ```
#
# </details>

# %% [markdown]
# ## Back through time, with a pencil  (F12, F13, F14 · D1 §4.2)
# D1 §4.2 names the method, backpropagation (反向传播算法), and prints gradients that we shall test in the next
# section. Here is the correct derivation. The loss is $L = -\sum_t \log \hat y_t(y_t)$, where $y_t$ is the word that
# really came (this is F11, corrected). Write $a_t$ for the argument of tanh and $\delta_u$ for
# $\partial L/\partial u$.
#
# 1. Softmax and logarithm together give $\delta_{z_t} = \hat y_t - \mathrm{onehot}(y_t)$ [V] (notebook 02). Here
#    $z_t = W_y h_t + b_y$ are the *logits*, the numbers that go into the softmax.
# 2. $h_t$ has two ways into the loss, its own prediction and the next state:
#    $\delta_{h_t} = W_y^\top \delta_{z_t} + W_h^\top \delta_{a_{t+1}}$ [H].
# 3. Through tanh: $\delta_{a_t} = \delta_{h_t} \odot (1 - h_t^2)$ [H].
# 4. The weights are the same at every step, so their gradients add up:
#    $\delta_{W_h} = \sum_t \delta_{a_t} h_{t-1}^\top$, $\delta_{W_x} = \sum_t \delta_{a_t} x_t^\top$,
#    $\delta_{b_h} = \sum_t \delta_{a_t}$.
#
# Step 2 needs the result of the next time step, so the loop runs from the last time step to the first.

# %%
y = rng.integers(V, size=T)
dz = y_hat - np.eye(V)[y]  # [T, V]
h_before = np.vstack([h0, h[:-1]])
da, from_later = np.zeros((T, H)), np.zeros(H)
for t in reversed(range(T)):
    dh = W_y.T @ dz[t] + from_later
    da[t] = dh * (1 - h[t] ** 2)
    from_later = W_h.T @ da[t]
dW_h, dW_x, db_h = da.T @ h_before, da.T @ x, da.sum(axis=0)

ours = rnn_loss_gradients(x, y, h0, W_h, W_x, b_h, W_y, b_y)
for name, mine, theirs in zip(("F12: δW_h", "F13: δW_x", "F14: δb_h"), (dW_h, dW_x, db_h), ours[2:]):
    agree(f"{name}, in minilm/formulas/rnn.py", mine, theirs)

# %% [markdown]
# Two judges know nothing of our derivation: automatic differentiation of the library's cell, and finite differences,
# which know only the loss.

# %%
logits = layer(torch.tensor(x)[None])[0][0] @ torch.tensor(W_y).T + torch.tensor(b_y)
layer.zero_grad()  # so that you can run this cell again
(cross_entropy(logits, torch.tensor(y)).value * T).backward()  # the library takes the mean over the T words
cell = layer.cells[0]
for name, mine, theirs in zip(("δW_h", "δW_x", "δb_h"), (dW_h, dW_x, db_h), (cell.W_h, cell.W_x, cell.b)):
    agree(f"{name}, and PyTorch's gradient", mine, theirs.grad)

nudge = np.zeros((H, H))
nudge[0, -1] = 1e-5
up, down = (rnn_loss(x, y, h0, W_h + s * nudge, W_x, b_h, W_y, b_y) for s in (1, -1))
agree("one entry of δW_h, by trying", dW_h[0, -1], (up - down) / 2e-5, atol=1e-8)

# %% [markdown]
# **Wrong, then right.** The usual mistake is to stop early: to forget `from_later`, or to go back only a few steps,
# which saves memory and is done on purpose for long texts ("truncated" back-propagation). You get no error. To see
# the effect, sort the gradient by how many steps back each part of it went, and add up the first $k$ of these parts.
#
# **Predict first.** How wrong is $\delta_{W_h}$ if no error goes back in time at all?
#
# <details><summary>Answer</summary>
#
# By about half of its length. Without an error message: its shape is right, and it even points roughly in the right
# direction.
#
# </details>

# %%
parts = np.zeros((T, H, H))  # parts[k]: from each prediction, exactly k steps back
for tau in range(T):
    dh = W_y.T @ dz[tau]
    for k in range(tau + 1):
        da_k = dh * (1 - h[tau - k] ** 2)
        parts[k] += np.outer(da_k, h_before[tau - k])
        dh = W_h.T @ da_k
agree("all parts together, and δW_h", parts.sum(axis=0), dW_h)

errors = np.linalg.norm(parts.cumsum(axis=0) - dW_h, axis=(1, 2)) / np.linalg.norm(dW_h)
picture, axis = panels(width=5.6, height=2.7)
axis.bar(range(T), np.maximum(errors, 1e-16), color=COLOURS[1])
axis.set(
    xlabel="steps that the gradient goes back",
    ylabel="relative error of δW_h",
    title="The gradient is wrong if you stop early",
)
picture

# %%
print(f"error of δW_h: {errors[0]:.0%} without any step back in time, {errors[-1]:.0e} with all steps")
claim("Without a step back the gradient is wrong by more than 10 %.", errors[0] > 0.1)
claim("With all steps it is right.", errors[-1] < 1e-12)

# %% [markdown]
# **What to try.** Multiply $W_h$ by 2, then by ½, by the line `W_h = 2 * W_h` below the one that draws the first weights:
# how far back must you go for an error below one percent? · Let only the last prediction count (`dz[:-1] = 0` below the
# line of `dz`), as when a whole text gets one label: what is left if you stop early?
#
# <details><summary>Answers</summary>
#
# 1. With $2 W_h$ the gradient comes from further back than with $½ W_h$, because each step back multiplies it by
#    $W_h^\top$.
#
#    ```text
#    steps back for an error below one percent: 5
#    steps back for an error below one percent: 3
#    ```
# 2. The gradient is wrong by 41 %. Only the last step has a prediction of its own; whatever the earlier words do to
#    the loss is in the part that goes back, and you lose all of it.
#
#    ```text
#    error of δW_h: 41% without any step back in time, 1e-16 with all steps
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start rnn`

# %% [markdown]
# ## The gradients as printed  (F12, F13, F14 · D1 §4.2)
# D1 prints the same letter for the prediction and for the answer,
#
# $$\frac{\partial L}{\partial W_h} = \sum_{t=1}^T \sum_{i=1}^V (y_t(i) - y_t(i))\, h_{t-1}$$
#
# and the same formula with $x_t$ for $W_x$ and with 1 for $b_h$. A number minus itself is zero. Moreover, a sum over
# $i$ times the vector $h_{t-1}$ is a vector [H], but $W_h$ is a matrix [H, H].

# %%
printed = rnn_loss_gradients_as_printed(x, y, h0, W_h, W_x, b_h, W_y, b_y)
for name, wrong, right in zip(("W_h", "W_x", "b_h"), printed, ours[2:]):
    print(f"{name}: printed {str(np.shape(wrong)):5} norm {np.linalg.norm(wrong)}   true {str(right.shape):7}", end="")
    print(f" norm {np.linalg.norm(right):.2f}")
claim("The printed gradients are zero.", [np.all(gradient == 0) for gradient in printed])
claim("The true ones are not.", [np.linalg.norm(gradient) > 0.1 for gradient in ours[2:5]])

# %% [markdown]
# Is it a misprint? Let us be kind and read $\hat y_t(i) - y_t(i)$. Summed over $i$ it is zero again, because both sum
# to one. Let us be kinder and replace the sum by one row for each $i$. That gives
# $\sum_t (\hat y_t - y_t)\, h_{t-1}^\top$ with the shape [V, H], which fits $W_h$ only if there are as many words as
# hidden units. It is a near relative of another gradient: with $h_t$ instead of $h_{t-1}$, it would be the gradient
# of $W_y$. Steps 2 and 3 above are missing.

# %%
repaired = rnn_loss_gradients_repaired_as_printed(x, y, h0, W_h, W_x, b_h, W_y, b_y)
agree("ŷ − y summed over i, as printed, and zero", (y_hat - np.eye(V)[y]).sum(axis=1), np.zeros(T))
print("shapes:", *(g.shape for g in repaired), "– needed:", *(g.shape for g in ours[2:5]))
agree("with h_t instead of h_t−1, and δW_y", (y_hat - np.eye(V)[y]).T @ h, ours[5])

# %% [markdown]
# So take a network that fits, $V = H$, and see whether this is a gradient at all. The left picture shows the cosine
# of the angle between it and the true gradient in 300 random networks (1 is the same direction, 0 a right angle). The
# right picture shows what happens to the loss when each of the three gradients moves $W_h$, $W_x$ and $b_h$. The text
# is a line of Hamlet, character by character. $W_y$ and $b_y$ keep their random values, so nothing else can do the
# work. The loss is in nats.
#
# **Predict first.** What does the loss do along the true gradient, along the printed one, and along the repaired one?
#
# <details><summary>Answer</summary>
#
# It falls, it stays exactly as it is, and it rises. A direction that is on average at a right angle to the gradient is no
# help, and often it does harm.
#
# </details>


# %%
def cosine(seed, H=8, T=10):
    r = np.random.default_rng(seed)
    net = [r.normal(size=s) for s in ((H,), (H, H), (H, I), (H,), (H, H), (H,))]
    x, y = r.normal(size=(T, I)), r.integers(H, size=T)
    a, b = rnn_loss_gradients_repaired_as_printed(x, y, *net)[0], rnn_loss_gradients(x, y, *net)[2]
    return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)


cosines = np.array([cosine(seed) for seed in range(60 if FAST else 300)])

# %%
line = "to be or not to be that is the question "
letters = sorted(set(line))
ids, n = np.array([letters.index(c) for c in line]), len(letters)
X, Y = np.eye(n)[ids[:-1]], ids[1:]
curves, learning_rate = {}, 0.003
for name, gradients in {
    "true": lambda *net: rnn_loss_gradients(*net)[2:5],
    "as printed": lambda *net: (0, 0, 0),  # the values of `rnn_loss_gradients_as_printed`, which fit any shape
    "repaired": rnn_loss_gradients_repaired_as_printed,
}.items():
    r, curves[name] = np.random.default_rng(0), []
    W_h_, W_x_, b_h_, W_y_, b_y_ = (r.normal(size=s) / np.sqrt(n) for s in ((n, n), (n, n), (n,), (n, n), (n,)))
    for _ in range(30 if FAST else 170):
        net = X, Y, np.zeros(n), W_h_, W_x_, b_h_, W_y_, b_y_
        curves[name].append(rnn_loss(*net) / len(Y))
        dW, dX, db = gradients(*net)
        W_h_, W_x_, b_h_ = W_h_ - learning_rate * dW, W_x_ - learning_rate * dX, b_h_ - learning_rate * db

# %%
picture, (left, right) = panels(1, 2, width=8, height=3)
left.hist(cosines, bins=24, range=(-1, 1), color=COLOURS[1])
left.axvline(1, color=COLOURS[2], lw=3)
left.annotate("the true\none", (1, left.get_ylim()[1]), (-6, 0), textcoords="offset points", ha="right", va="top")
left.set(
    xlabel="cosine of the angle to the true gradient", ylabel="networks", title="Repaired: on average a right angle"
)
for (name, curve), colour in zip(curves.items(), (COLOURS[2], COLOURS[7], COLOURS[1])):
    right.plot(curve, color=colour, label=name)
right.set(
    xlabel="steps along the “gradient”",
    ylabel="loss per character (nats)",
    title="Three gradients at work",
)
right.legend(fontsize=10)
picture

# %%
start, ends = curves["true"][0], {name: curve[-1] for name, curve in curves.items()}
print(f"loss at the start {start:.2f}, at the end:", {name: round(end, 2) for name, end in ends.items()})
claim("Repaired, it is on average at a right angle to the true gradient.", abs(cosines.mean()) < 0.1)
claim("In more than a third of the networks it even points backwards.", (cosines < 0).mean() > 0.35)
claim("The true gradient lowers the loss.", ends["true"] < start - 0.05)
claim("The printed one leaves it as it is.", ends["as printed"] == start)
if not FAST:
    claim("The true gradient lowers it by more than a quarter.", ends["true"] < 0.75 * start)
    claim("The repaired one raises it.", ends["repaired"] > start)

# %% [markdown]
# The printed gradient does nothing at all, and the repaired one makes things worse. Why do many programs with such a
# mistake still learn something? Because $W_y$ learns.
#
# **What to try.** Move $W_y$ and $b_y$ too, by their true gradients, in all three runs: add the lines
# `dW_y, db_y = rnn_loss_gradients(*net)[5:]` and
# `W_y_, b_y_ = W_y_ - learning_rate * dW_y, b_y_ - learning_rate * db_y` at the end of the inner loop. How far behind the
# true gradient do the printed zeros stay? (With them the recurrent part stays random, and yet the loss falls: a random
# network with a trained output is called a reservoir.)
#
# <details><summary>Answers</summary>
#
# 1. Far: with the true gradient the loss falls to 0.71, with the zeros to 1.89. But it does fall, because $W_y$
#    learns, and whoever looks at the curve of the zeros alone will think that the program works.
#
#    ```text
#    loss at the start 2.43, at the end: {'true': 0.71, 'as printed': 1.89, 'repaired': 1.73}
#    ```
#
# </details>

# %% [markdown]
# ## tanh or ReLU?  (F09 · D1 §4.1)
# D1 says that $\sigma$ is usually ReLU. In deep networks it is; in a recurrent network it is usually tanh, and here
# you see why. Going back one step multiplies the gradient by $W_h^\top \mathrm{diag}(\sigma')$, and a hundred steps
# do so a hundred times. Going forward, nothing limits a ReLU, while tanh keeps every number within ±1. In the
# experiment there are $H = 64$ units, $W_h$ is random with variance $g^2/H$, each of the 100 steps gets a random
# input, and the loss depends only on the last state.
#
# **Predict first.** At $g = 1$, how much of the gradient of the last state is left at the first one, with tanh and with
# ReLU?
#
# <details><summary>Answer</summary>
#
# Hardly anything in both: less than a ten-billionth. ReLU has slope 1 where it is on, but half of its units are off.
#
# </details>

# %%
H_, steps, gains = 64, 100, (1.0, 2.0)
seeds = range(3 if FAST else 8)


def norms(activation, g, seed):
    r = np.random.default_rng(seed)
    W_h, W_x = g * r.normal(size=(H_, H_)) / np.sqrt(H_), r.normal(size=(H_, I)) / np.sqrt(I)
    u = r.normal(size=H_) / np.sqrt(H_)  # the gradient of the loss at the last state
    return norms_through_time(r.normal(size=(steps, I)), np.zeros(H_), W_h, W_x, np.zeros(H_), u, activation)


measured = {(s, g): np.array([norms(s, g, seed) for seed in seeds]) for s in ("tanh", "relu") for g in gains}

# %%
picture, axes = panels(1, 2, width=8, height=3)
for (s, g), values in measured.items():
    colour, style = COLOURS[0 if s == "tanh" else 1], ("--", "-", ":", "-.")[gains.index(g) % 4]
    for axis, curve in zip(axes, np.log10(values[:, :, 1:]).mean(axis=0)):  # h₀ = 0 has no logarithm
        axis.plot(np.arange(1, steps + 1), curve, style, color=colour, label=f"{s}, g = {g:g}")
axes[0].set(xlabel="step t", ylabel="log₁₀ ‖h‖", title="The state, going forward")
axes[1].set(xlabel="step t", ylabel="log₁₀ ‖∂L/∂h‖", title="The gradient, going back")
axes[0].legend(fontsize=10)
picture

# %%
last_state = {key: values[:, 0, -1] for key, values in measured.items()}
first_gradient = {key: values[:, 1, 0] for key, values in measured.items()}
low, high = min(gains), max(gains)
print("median over the seeds:   last state   gradient at the first state")
for (s, g), state in last_state.items():
    print(f"{s}, g = {g:4.2f} {np.median(state):23.0e} {np.median(first_gradient[s, g]):29.0e}")
claim("The state of tanh stays below √H, because every number lies within ±1.", last_state["tanh", high] < np.sqrt(H_))
claim(f"At g = {high:g} the state of ReLU passes a million.", last_state["relu", high] > 1e6)
claim("So does its gradient.", first_gradient["relu", high] > 1e6)
claim(f"At g = {low:g} the gradient of ReLU falls below 10⁻¹⁰.", first_gradient["relu", low] < 1e-10)
claim("So does that of tanh.", first_gradient["tanh", low] < 1e-10)

# %% [markdown]
# With $g = 2$ the state of the ReLU network passes a million (in fact by far), and so does its gradient. The state of
# the tanh network stays below $\sqrt{64} = 8$.
#
# **Wrong, then right.** "ReLU has slope 1, so its gradient cannot vanish." At $g = 1$ it does: the gradients of both
# networks fall below $10^{-10}$. In the ReLU network about half the units are off at each step and let nothing through.
# The slope is only one of the two factors; the other is $W_h$. Both must be right at once for the gradient to keep its
# size on the way. (ReLU can be made to work: start $W_h$ as the identity, so that each unit just keeps its number. Le,
# Jaitly and Hinton, 2015.)
#
# **What to try.** Add `np.sqrt(2)` to `gains`, the value that makes up for the units of ReLU that are off. · Start $W_h$
# as the identity, `W_h = np.eye(H_)` above the line of `u`, and make the input ten times smaller,
# `r.normal(size=(steps, I)) / 10`: what does ReLU do now? · Use 400 steps.
#
# <details><summary>Answers</summary>
#
# 1. ReLU now stays within some five powers of ten, where it exploded at 2 and vanished at 1: the half of the units
#    that is off takes as much away as the larger weights add. It is a knife-edge, and training moves $W_h$ away from
#    it.
#
#    ```text
#    relu, g = 1.00                   8e+00                         1e-15
#    relu, g = 1.41                   1e+05                         2e+03
#    relu, g = 2.00                   6e+19                         3e+18
#    ```
# 2. With the identity each unit keeps its number and adds the input, and the state stays small. The gradient passes
#    a unit unchanged as long as it is on, and not at all once it is off.
#
#    ```text
#    relu, g = 1.00                   6e+00                         2e-01
#    tanh, g = 1.00                   2e+00                         1e-01
#    ```
# 3. Whatever grows or shrinks by a factor per step goes on doing so: four times as many steps, four times as many
#    powers of ten.
#
#    ```text
#    relu, g = 1.00                   7e+00                         2e-61
#    relu, g = 2.00                   2e+76                         1e+75
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
#
# 1. A recurrent network mixes each new word with a state and hands the state on; the same weights work at every step.
# 2. Backwards, each state gets its gradient from two sides, its own prediction and the next state; the weights add up
#    over all steps.
# 3. If you stop going back early, the gradient is wrong, and no error says so.
# 4. D1's printed gradients are always zero, and the kindest repair is on average at a right angle to the true gradient.
# 5. Both factors decide what survives, the slope of the activation and $W_h$: tanh keeps the state within bounds, ReLU
#    lets it explode.
#
# **Where to read on.**
#
# * Elman, 1990, *Finding Structure in Time*: the simple recurrent network
# * Werbos, 1990, *Backpropagation Through Time: What It Does and How to Do It*
# * Pascanu, Mikolov and Bengio, 2013, *On the difficulty of training recurrent neural networks* (arXiv:1211.5063)
# * Le, Jaitly and Hinton, 2015, *A Simple Way to Initialize Recurrent Networks of Rectified Linear Units*
#   (arXiv:1504.00941)
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---|---|
# | `rnn` | 60 | hard |
