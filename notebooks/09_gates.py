# %% [markdown]
# # 09 · Gates: LSTM and GRU
#
# > **Minutes.** 1 to run, about 70 to read and try.
# >
# > **You need** the recurrent network and its gradient through time ([notebook 08](08_recurrence.ipynb)).
# >
# > **Afterwards you can** build an LSTM and a GRU from their formulas, measure how fast a gradient dies or explodes on its
# > way, clip it, and say how many labels the model that D1 prints learns from.
# >
# > **The documents.** D1 §3.1:
# > “LSTM和GRU通过引入门控机制来控制信息的流入和流出，从而避免了传统RNN容易出现的梯度消失和梯度爆炸问题。”
# > (LSTM and GRU control by gates what flows in and out, and so they avoid the vanishing and exploding gradients that
# > traditional RNNs easily have).
# >
# > **Words.** A [nat](GLOSSARY.md#words-that-the-notebooks-use) is the unit of a loss, and a
# > [logit](GLOSSARY.md#words-that-the-notebooks-use) is a score before the softmax; these and D1, F15, `agree`, `claim` and
# > `FAST` are explained in [notebook 01](01_learning_from_data.ipynb).
#
# Letters: $T$ steps, $I$ features of an input, $H$ units in the state, $V$ words in the vocabulary, $E$ the size of an
# embedding.

# %%
import numpy as np
import torch

from minilm import LSTMConfig, LSTMLanguageModel, cross_entropy
from minilm.formulas.gru import gru, gru_gradients, gru_reset_before
from minilm.formulas.lstm import lstm, lstm_gradients, sigmoid
from minilm.formulas.lstm_model import lstm_model, lstm_model_loss, lstm_model_shapes
from minilm.formulas.rnn import rnn, rnn_gradients
from minilm.layers.recurrent import Recurrent
from minilm.text.corpus import documents
from minilm.training.optimizer import Adam, clip_gradients
from minilm.viz import schematics
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # products as small as ours are faster without a second thread


def library(kind, **weights):
    """The library's layer with our weights: it takes x [B, T, I] and returns every state [B, T, H] and the last one."""
    rows, I = weights["W_x"].shape
    layer = Recurrent(kind, I, weights["W_h"].shape[1]).double()
    layer.load_state_dict({f"cells.0.{name}": torch.tensor(weight) for name, weight in weights.items()})
    return layer


T, I, H = 9, 3, 5
x = rng.normal(size=(T, I))  # the inputs of the first two sections

# %% [markdown]
# ## The LSTM  (F15 · D1 §3.1)
# A plain recurrent network (notebook 08) squeezes its whole state through $W_h$ and tanh at every step, and what it
# read twenty steps ago is soon gone. D1 names long short-term memory (长短期记忆网络) as the cell that avoids this, but gives
# no formula. Here it is. Besides the state there is a memory $c_t$, and three **gates**, numbers between 0 (shut) and 1
# (open), decide what enters it ($i$), what stays in it ($f$) and what is shown ($o$):

# %%
schematics.lstm_cell()

# %% [markdown]
# In formulas:
#
# $$i, f, o = \sigma(W_x x_t + W_h h_{t-1} + b) \qquad g = \tanh(W_x x_t + W_h h_{t-1} + b)$$
# $$c_t = f \odot c_{t-1} + i \odot g \qquad h_t = o \odot \tanh c_t$$
#
# Each of the four has its own rows of $W_x$ [4H, I], $W_h$ [4H, H] and $b$ [4H]; $h_t, c_t$ [H]; here
# $\sigma(a) = 1/(1 + e^{-a})$. New content is added to the memory, and no matrix multiplies the memory on its way:
# $\partial c_t/\partial c_{t-1}$ is $f$, plus the part that goes through the gates.

# %%
W_x, W_h, b = (rng.normal(size=s) / 2 for s in ((4 * H, I), (4 * H, H), (4 * H,)))
h, c, hs = np.zeros(H), np.zeros(H), []
for x_t in x:
    i, f, g, o = np.split(W_x @ x_t + W_h @ h + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    hs.append(h)

zero, layer = np.zeros(H), library("lstm", W_x=W_x, W_h=W_h, b=b)
theirs = layer(torch.tensor(x)[None])[0][0]
agree("F15, in minilm/formulas/lstm.py", hs, lstm(x, zero, zero, W_x, W_h, b)[0])
agree("F15, in minilm/layers/recurrent.py", hs, theirs)

dh = rng.normal(size=(T, H))
_, _, _, *by_hand = lstm_gradients(x, zero, zero, W_x, W_h, b, dh)
(theirs * torch.tensor(dh)).sum().backward()
for name, mine in zip(("W_x", "W_h", "b"), by_hand):
    agree(f"δ{name} through time, by hand and by machine", mine, getattr(layer.cells[0], name).grad)

# %% [markdown]
# The gradient by hand takes a few lines, each one a product rule; you find the derivation in the docstring of
# `lstm_gradients`. The gate $f$ decides everything. You choose its bias at the start, and this bias sets a half-life:
# shut the input gate, give the cell silence, and see what is left of a memory of 1.
#
# **Predict first.** With a bias of 0 the gate is half open, $f = 0.5$. What is left of the memory after ten steps, and
# with bias 4?
#
# <details><summary>Answer</summary>
#
# $0.5^{10}$, less than a thousandth. A bias of 4 gives $f = 0.98$, and $0.98^{10}$ is more than four fifths.
#
# </details>

# %%
kept = {}
b_i, b_g, b_o = -50.0, 0.0, 0.0  # the input gate is shut: nothing new comes in
picture, axis = panels(width=5.6, height=2.7)
for bias, colour in zip((0.0, 1.0, 4.0), COLOURS):
    b_all = np.repeat([b_i, bias, b_g, b_o], H)
    shown, c = lstm(np.zeros((50, I)), zero, np.ones(H), 0 * W_x, 0 * W_h, b_all)
    kept[bias] = c.mean(axis=1)
    print(f"bias {bias:g}: after ten steps the network knows {c[9].mean():.4f} and shows {shown[9].mean():.4f}")
    axis.plot([1, *kept[bias]], color=colour, label=f"bias {bias:g}: f = {sigmoid(bias):.2f}")
axis.set(xlabel="step", ylabel="what is left of c = 1", title="The forget gate sets a half-life")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
picture

# %%
claim(
    "What is left after ten steps is f¹⁰.",
    [np.isclose(values[9], sigmoid(bias) ** 10) for bias, values in kept.items()],
)

# %% [markdown]
# After ten steps, a gate that is half open leaves less than a thousandth. The library starts with bias 1 and keeps
# between a twenty-fifth and a twentieth. Bias 4 keeps more than four fifths.
#
# **Wrong, then right.** The order of the four blocks is a convention. Ours and PyTorch's is $i, f, g, o$. Weights
# from a program with another order, say $i, f, o, g$, have the same shapes. You get no error, only different numbers.

# %%
blocks = [0, 1, 3, 2]  # i f o g
foreign = [w.reshape(4, H, -1)[blocks].reshape(w.shape) for w in (W_x, W_h, b)]
wrong = np.abs(lstm(x, zero, zero, *foreign)[0] - hs).max()
mended = [w.reshape(4, H, -1)[blocks].reshape(w.shape) for w in foreign]
print(f"largest difference between the states: {wrong:.2f}")
claim("They differ by more than 0.1.", wrong > 0.1)
agree("after putting the blocks back in order", lstm(x, zero, zero, *mended)[0], hs)

# %% [markdown]
# **What to try.** Set the bias of the output gate, `b_o`, to −50: what does the network show, and what does it still
# know? · Open the input gate too, `b_i = 50.0`, and give $g$ a bias, `b_g = 1.0`: where does the memory settle?
#
# <details><summary>Answers</summary>
#
# 1. The network shows nothing, and knows as much as before: what is kept and what is shown are decided by different
#    gates. With the forget bias 4 more than four fifths of the memory are still there.
#
#    ```text
#    bias 4: after ten steps the network knows 0.8340 and shows 0.0000
#    ```
# 2. At $i · g/(1 - f)$: at each step $i\,g = \tanh 1 = 0.76$ comes in and the share $1 - f$ goes out. With the bias
#    0 that is 1.52; with 4 the memory is still on its way after fifty steps.
#
#    ```text
#    bias 0: after ten steps the network knows 1.5227 and shows 0.4546
#    bias 4: after ten steps the network knows 7.8622 and shows 0.5000
#    ```
#
# </details>
#
# **Exercises.** `minilm exercise start lstm_cell` · `lstm_bptt`

# %% [markdown]
# ## The GRU, in both published forms  (F16 · D1 §3.1)
# The gated recurrent unit (门控循环单元) needs only one state and two gates, $r$ (reset) and $z$ (update); $n$ is the
# new content.

# %%
schematics.gru_cell()

# %% [markdown]
# There are two forms of it. Cho et al. (2014), who published it, reset the state before the product with $W_h$. PyTorch
# and this library reset it after the product. All symbols are [H]; the three blocks of $W_x$ [3H, I], $W_h$ [3H, H],
# $b$, $b_h$ [3H] stand in the order $r, z, n$.
#
# $$\text{before: } n = \tanh(W_x x_t + b + W_h (r \odot h_{t-1})) \qquad
# \text{after: } n = \tanh(W_x x_t + b + r \odot (W_h h_{t-1} + b_h))$$
# $$r, z = \sigma(W_x x_t + b + W_h h_{t-1} + b_h) \qquad h_t = (1 - z) \odot n + z \odot h_{t-1}$$

# %%
W_x, W_h, b, b_h = (rng.normal(size=s) for s in ((3 * H, I), (3 * H, H), (3 * H,), (3 * H,)))
h, hs = np.zeros(H), []
for x_t in x:
    (a_r, a_z, a_n), (u_r, u_z, u_n) = np.split(W_x @ x_t + b, 3), np.split(W_h @ h + b_h, 3)
    r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
    n = np.tanh(a_n + r * u_n)
    h = (1 - z) * n + z * h
    hs.append(h)

layer = library("gru", W_x=W_x, W_h=W_h, b=b, b_h=b_h)
theirs = layer(torch.tensor(x)[None])[0][0]
agree("F16, in minilm/formulas/gru.py", hs, gru(x, zero, W_x, W_h, b, b_h))
agree("F16, in minilm/layers/recurrent.py", hs, theirs)
_, _, *by_hand = gru_gradients(x, zero, W_x, W_h, b, b_h, dh)
(theirs * torch.tensor(dh)).sum().backward()
for name, mine in zip(("W_x", "W_h", "b", "b_h"), by_hand):
    agree(f"δ{name} through time, by hand and by machine", mine, getattr(layer.cells[0], name).grad)

# %% [markdown]
# **Wrong, then right.** "A GRU is a GRU." Put weights that were trained in one form into the other form and see what
# happens.

# %%
none = np.zeros(3 * H)


def difference(bias):
    """Largest difference between the states of the two forms for this bias of the reset gate."""
    b_r = np.concatenate([np.full(H, bias), b[H:]])
    return np.abs(gru(x, zero, W_x, W_h, b_r, none) - gru_reset_before(x, zero, W_x, W_h, b_r)).max()


biases = np.linspace(-6, 12, 37)
picture, axis = panels(width=5.6, height=2.7)
axis.plot(biases, [difference(bias) for bias in biases], color=COLOURS[1])
axis.set(xlabel="bias of the reset gate", ylabel="largest difference", title="Same weights, two forms", ylim=0)
picture

# %%
as_drawn = np.abs(gru(x, zero, W_x, W_h, b, none) - gru_reset_before(x, zero, W_x, W_h, b)).max()
print(f"largest difference between the states, which lie within ±1: {as_drawn:.2f}")
claim("The two forms differ by more than 0.1.", as_drawn > 0.1)
claim("Where nothing is reset they are equal.", difference(50.0) < 1e-10)

# %% [markdown]
# Where nothing is reset (bias 50 and $r = 1$), the place of the reset cannot matter. Otherwise they are two different
# models. Always say which one you use.
#
# **What to try.** Set the bias of $z$ to 50, `b[H : 2 * H] = 50` below the line that draws the weights: what has become
# of the gradient of the first state, `gru_gradients(x, zero, W_x, W_h, b, b_h, dh)[1]`? · Time both forms, `%timeit
# gru(x, zero, W_x, W_h, b, none)` and `%timeit gru_reset_before(x, zero, W_x, W_h, b)`: how many products with $W_h$
# does each form need per step?
#
# <details><summary>Answers</summary>
#
# 1. $z = 1$ keeps the old state and lets nothing in, so the state stays 0 for ever, and the gradient of the first
#    state is simply the sum of the gradients of all states: nothing is lost on the way.
#
#    ```text
#    array([ 0.2055741 , -2.88239865,  0.88469934,  1.80104359, -2.71927508])
#    ```
# 2. Ours does $W_h h$ once per step, for all three blocks together. The form of 2014 needs the reset gate first, so
#    it takes two products one after the other, which take longer.
#
# </details>
#
# **Exercise.** `minilm exercise start gru_cell`

# %% [markdown]
# ## Vanishing and exploding, step by step  (F09, F15, F16 · D1 §3.1)
# D1 claims that gates avoid both. We test this claim: the loss depends only on the last state, and we ask how much of
# it arrives at the input $k$ steps before, $\|\partial L/\partial x_{T-k}\|$, as a share of what arrives at the last
# input. We use the library's own layers with $H = 64$, once with their initial weights (left) and once with $W_h$ four
# times as large (right).
#
# **Predict first.** With its initial weights, which cell still delivers a tenth of the gradient over 100 steps?
# RNN with tanh, RNN with ReLU, GRU, or LSTM with a forget bias of 0, 1 or 4?
#
# <details><summary>Answer</summary>
#
# Only the LSTM with a forget bias of 4. Gates that are half open are no better than no gates.
#
# </details>


# %%
def arrival(kind, scale=1.0, forget=None, H=64, T=101, B=4 if FAST else 16):
    g = torch.Generator().manual_seed(0)
    layer = Recurrent(kind, 8, H, generator=g).double()
    with torch.no_grad():
        layer.cells[0].W_h *= scale
        if forget is not None:
            layer.cells[0].b[H : 2 * H] = forget
    x = torch.randn(B, T, 8, generator=g, dtype=torch.double, requires_grad=True)
    u = torch.randn(B, H, generator=g, dtype=torch.double)
    (layer(x)[0][:, -1] * u).sum().backward()
    norm = x.grad.norm(dim=-1).log10().mean(dim=0).flip(0).numpy()  # [T], by distance; powers of ten
    return norm - norm[0]


cells = {"RNN, tanh": ("rnn",), "RNN, ReLU": ("rnn-relu",), "GRU": ("gru",)}
cells |= {f"LSTM, forget bias {f}": ("lstm", f) for f in (0, 1, 4)}
scales = (1.0, 4.0)
arrived = {(name, s): arrival(k, s, *f) for name, (k, *f) in cells.items() for s in scales}

# %%
picture, [axes] = panels(1, len(scales), width=3.8 * len(scales), height=3.2, squeeze=False)
for axis, scale in zip(axes, scales):
    title = "With the initial weights" if scale == 1 else f"W_h times {scale:g}"
    for name, colour in zip(cells, COLOURS):
        axis.plot(arrived[name, scale], color=colour, label=name)
    axis.axhline(0, color=COLOURS[7], lw=1, ls=":")
    axis.set(xlabel="distance k", title=title)
axes[0].set_ylabel("share that arrives (log₁₀)")
axes[-1].set_ylim(top=45)
axes[-1].legend(fontsize=9, loc="upper left")
picture

# %%
print("powers of ten that arrive over the longest distance:")
for name in cells:
    print(f"{name:20}", *(f"{arrived[name, scale][-1]:8.1f} with W_h times {scale:g}" for scale in scales))
initial, large = ({name: arrived[name, scale][-1] for name in cells} for scale in (scales[0], scales[-1]))
claim(
    "tanh loses more than fifteen powers of ten, ReLU more than thirty.",
    initial["RNN, tanh"] < -15 and initial["RNN, ReLU"] < -30,
)
claim(
    "The GRU and the LSTM with a half-open gate lose more than fifteen.",
    max(initial["GRU"], initial["LSTM, forget bias 0"]) < -15,
)
claim("With bias 1 the LSTM loses between five and ten.", -10 < initial["LSTM, forget bias 1"] < -5)
claim("With bias 4 more than a tenth arrives.", initial["LSTM, forget bias 4"] > -1)
claim(
    "On the right, ReLU explodes by more than fifteen, tanh by more than five.",
    large["RNN, ReLU"] > 15 and large["RNN, tanh"] > 5,
)
claim("Every gated cell grows by less than three.", [large[name] < 3 for name in cells if "RNN" not in name])

# %% [markdown]
# With the initial weights, over 100 steps, tanh loses more than fifteen powers of ten and ReLU loses more than thirty.
# But the GRU and the LSTM with a half-open forget gate lose more than fifteen too. With bias 1 the LSTM still loses
# between five and ten. Only the LSTM whose gate stands open, with bias 4, still delivers more than a tenth of the
# gradient. On the right, the gradient of ReLU explodes by more than fifteen powers of ten and that of tanh by more than
# five, while that of every gated cell grows by less than three.
#
# **Wrong, then right.** "The LSTM avoids vanishing gradients." A gate *can* be open, but nothing says that it is. The
# LSTM gives the gradient a road; training (or a good start) has to open it. Notebook 10 shows the price: the same
# LSTM learns a task over forty steps or fails to, depending on this one number.
#
# **What to try.** Use `scales = (1.0, 2.0)`, since 2 happens to be a lucky value for tanh. Would it stay lucky during
# training? · Use a bias of 4 on the GRU's update gate, which stands in the very same block: add
# `cells["GRU, update bias 4"] = ("gru", 4)` above the line of `scales`.
#
# <details><summary>Answers</summary>
#
# 1. With 2, tanh loses not even two powers of ten: the growth by $W_h$ and the loss by tanh happen to be about
#    equal. Training changes $W_h$ at every step, so it would not stay like that.
#
#    ```text
#    RNN, tanh               -22.0 with W_h times 1     -1.8 with W_h times 2
#    ```
# 2. It opens the road for the GRU as well: an update gate at 0.98 hands the state on almost as it was.
#
#    ```text
#    GRU, update bias 4       -0.7 with W_h times 1     -0.1 with W_h times 4
#    ```
#
# </details>

# %% [markdown]
# ## Clipping  (F03 · D1 appendix)
# D1's appendix names gradient clipping (梯度裁剪) as a remedy against explosion: when the gradient $g$ of all
# parameters together is longer than $c$, shorten it to length $c$: $g \leftarrow g \cdot \min(1, c/\|g\|)$. To see why
# this helps, take the smallest recurrent network there is: one unit without input, $h_t = \tanh(W_h h_{t-1} + b_h)$,
# whose state should be 0.7 after 50 steps. Its loss has a cliff: on one side the state moves to a positive value, on
# the other side to a negative one.


# %%
def cliff(W, b, T=50):
    """The loss (h_T − 0.7)² and its gradient for W_h and b_h: F12 and F14 with one unit."""
    weights = np.zeros((T, 1)), np.array([-0.5]), np.array([[W]]), np.zeros((1, 1)), np.array([b])
    miss = rnn(*weights)[-1, 0] - 0.7
    dh = np.zeros((T, 1))
    dh[-1] = 2 * miss
    _, _, dW, _, db = rnn_gradients(*weights, dh)
    return miss**2, np.array([dW.item(), db.item()])


def descend(c, start=(1.5, 0.3), steps=60, learning_rate=0.1):
    path, norms = [np.array(start)], []
    for _ in range(steps):
        g = cliff(*path[-1])[1]
        norms.append(np.linalg.norm(g))
        path.append(path[-1] - learning_rate * g * min(1, c / norms[-1]))
    return np.array(path), np.array(norms)


c = 1.0
paths = {"without clipping": descend(np.inf), f"clipped at {c:g}": descend(c)}

# %%
n = 20 if FAST else 60
W_start, b_start = descend(c, steps=0)[0][0]
Ws, bs = np.linspace(0.9, max(1.6, W_start + 0.1), n), np.linspace(-0.05, max(0.5, b_start + 0.1), n)
land = np.array([[cliff(W, b)[0] for W in Ws] for b in bs])
picture, (left, right) = panels(1, 2, width=8, height=3)
shades = left.pcolormesh(Ws, bs, land, cmap="Greys", vmin=0, vmax=4)
picture.colorbar(shades, ax=left, label="loss")
for (name, (path, sizes)), colour, mark in zip(paths.items(), (COLOURS[1], COLOURS[0]), "so"):
    left.plot(*path.T, mark + "-", ms=4, lw=1.5, color=colour)
    right.plot(np.log10(sizes), mark + "-", ms=4, lw=1.5, color=colour, label=name)
left.set(xlabel="W_h", ylabel="b_h", title="At the edge of a cliff", xlim=Ws[[0, -1]], ylim=bs[[0, -1]])
right.set(xlabel="step", ylabel="log₁₀ ‖g‖, before clipping", title="A single gradient is enough")
right.legend(loc="lower left", fontsize=9)
picture

# %%
far = {name: np.abs(path - path[0]).max() for name, (path, _) in paths.items()}
end = {name: cliff(*path[-1])[0] for name, (path, _) in paths.items()}
for name, (_, norms) in paths.items():
    print(
        f"{name:16} largest gradient {norms.max():5.1f}, furthest from the start {far[name]:.2f}, loss at the end {end[name]:.4f}"
    )
free, clipped = paths
claim("One gradient is longer than 20.", paths[free][1].max() > 20)
claim(
    "It throws the parameters more than 2 away; the clipped walk stays within 0.5.", far[free] > 2 > 0.5 > far[clipped]
)
claim("The clipped walk ends below 0.001, the other one above 0.05.", end[clipped] < 1e-3 and end[free] > 0.05)

g = torch.nn.Parameter(torch.zeros(2))
g.grad = torch.tensor([3.0, 4.0])
norm = clip_gradients([g], max_norm=1.0)
agree("minilm/training/optimizer.py clips (3, 4) to (0.6, 0.8)", g.grad, np.array([3, 4]) / 5, atol=1e-6)
claim("It returns the norm before clipping, 5, so that you can watch it.", norm == 5)

# %% [markdown]
# Both walk along the light plain until they touch the cliff. There, a single gradient longer than 20 throws the
# parameters of the unclipped walk more than 2 away, out of the picture, to where the land is flat. They stay there
# with a loss above 0.05. The clipped walk never gets further than 0.5 from the start, and it ends below 0.001.
#
# **Wrong, then right.** Clipping each number by itself, `np.clip(g, -1, 1)`, also shortens the gradient. But it turns
# (3, 4) into (1, 1), which points in another direction; one factor for all numbers keeps the direction. And no
# clipping helps against *vanishing*, because there is nothing to shorten.
#
# **What to try.** Use `c = 20.0`: is that enough? · Start at `(1.8, 0.6)` with a learning rate of 0.3, the defaults of
# `descend`. · Use 5 steps instead of 50, `T=5` in `cliff`: is there still a cliff?
#
# <details><summary>Answers</summary>
#
# 1. No. The longest gradient is shortened to 20, and a step of 0.1 · 20 = 2 still throws the parameters far away.
#    The bound must be about as long as the ordinary gradients.
#
#    ```text
#    clipped at 20    largest gradient  31.0, furthest from the start 1.57, loss at the end 0.0699
#    ```
# 2. The same again: one gradient throws the unclipped walk far away, where it stays. The clipped walk makes a short
#    step there instead and arrives.
#
#    ```text
#    without clipping largest gradient  15.8, furthest from the start 3.60, loss at the end 0.0875
#    clipped at 1     largest gradient  15.8, furthest from the start 0.79, loss at the end 0.0000
#    ```
# 3. Only a slope: the longest gradient is a quarter of what it was, and it throws nothing out of the picture. The
#    cliff comes from going through the same $W_h$ fifty times.
#
#    ```text
#    without clipping largest gradient   7.8, furthest from the start 0.73, loss at the end 0.0592
#    clipped at 1     largest gradient   7.8, furthest from the start 0.22, loss at the end 0.0025
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start clipping`

# %% [markdown]
# ## The document's own model  (F17 · D1 §5.2)
# D1 §5.2 prints a model: `Embedding(1000, 64)`, `LSTM(128)`, `LSTM(128)`, `Dense(1000, softmax)`. In formulas, for
# words $w_t$:
#
# $$x_t = \mathrm{embedding}[w_t] \qquad h^1 = \mathrm{LSTM}_1(x) \qquad h^2 = \mathrm{LSTM}_2(h^1) \qquad
# \hat y_t = \mathrm{softmax}(W_y h^2_t + b_y)$$
#
# with the embedding [V, E], $h^1, h^2$ [T, H], $W_y$ [V, H], and $V = 1000$, $E = 64$, $H = 128$. Nothing here is new:
# its gradient applies the gradient of the LSTM twice, where the $\delta_x$ of one layer is the $\delta_h$ of the layer
# below it (`minilm/formulas/lstm_model.py`). Here are its parameters, row by row:

# %%
shapes = lstm_model_shapes()
rows = {"Embedding": ["embedding"], "LSTM 1": ["W_x1", "W_h1", "b_1"], "LSTM 2": ["W_x2", "W_h2", "b_2"]}
rows["Dense"] = ["W_y", "b_y"]
counts = {row: sum(int(np.prod(shapes[name])) for name in names) for row, names in rows.items()}
for row, names in rows.items():
    print(f"{row:10}", *(f"{name} {list(shapes[name])}" for name in names), "→", f"{counts[row]:,}")
total = sum(counts.values())
claim(
    f"The library's model has {total:,} parameters, too.",
    total == sum(p.numel() for p in LSTMLanguageModel().parameters()),
)
tables = (counts["Embedding"] + counts["Dense"]) / total
claim(f"The two tables of words hold almost half of them, {tables:.0%}.", 0.4 < tables < 0.5)

# %% [markdown]
# There are 423,400 parameters in all, and the library's `LSTMLanguageModel` has as many. Almost half of them are in the
# two tables of words. Now read the program again, slowly. Its first LSTM has `return_sequences=True`; the second does
# not, so it passes on *its last state alone*. So for a text of 50 words this model predicts only one word, the next
# one, and the sum over $t$ in D1's own loss (F11) has one term. The formula, in contrast, learns from every word. Does
# this matter? We test it on real text, the reviewers' sentences of `rotten-tomatoes`, character by character.
#
# **Predict first.** Both ways see the same texts. Which one beats a guess from the last character alone, after 120 steps?
#
# <details><summary>Answer</summary>
#
# Only the one that learns from every character. It gets fifty labels from a text where the other gets one.
#
# </details>

# %%
text = "\n".join(s for document in documents("rotten-tomatoes") for s in document)[: 60_000 if FAST else 400_000]
letters = sorted(set(text))
V, T = len(letters), 50
ids = torch.tensor(np.searchsorted(letters, list(text)))
windows = ids[: len(ids) // (T + 1) * (T + 1)].view(-1, T + 1)  # [N, 51]: 50 characters, and the next one of each
n = 60 if FAST else 300
train, held_out = windows[:-n], windows[-n:]
pairs = np.full((V, V), 0.1)
np.add.at(pairs, (train[:, :-1].numpy(), train[:, 1:].numpy()), 1)  # how often one character follows another
bigram = -np.log((pairs / pairs.sum(axis=1, keepdims=True))[held_out[:, :-1], held_out[:, 1:]]).mean()
print(
    f"{V} characters, {len(train):,} windows of {T}; loss when guessing from the previous character alone: {bigram:.2f} nats"
)

# %%
steps = 4 if FAST else 120


def learn(labels, steps, B=32):
    model = LSTMLanguageModel(LSTMConfig(vocab_size=V), generator=torch.Generator().manual_seed(1))
    adam, g, curve = Adam([{"params": list(model.parameters())}]), torch.Generator().manual_seed(2), []
    for step in range(steps + 1):
        if step % max(1, steps // 6) == 0:
            with torch.no_grad():
                curve.append((step, cross_entropy(model(held_out[:, :-1]), held_out[:, 1:]).value.item()))
        batch = train[torch.randint(len(train), (B,), generator=g)]
        loss = cross_entropy(model(batch[:, :-1]), labels(batch[:, 1:].clone())).value
        adam.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), 1.0)
        adam.step(5e-3)
    return model, np.array(curve)


def last_alone(y):
    y[:, :-1] = -100  # −100: this label does not count
    return y


model, every = learn(lambda y: y, steps)
_, last = learn(last_alone, steps)

# %%
picture, axis = panels(width=5.6, height=2.7)
axis.plot(*last.T, "s-", color=COLOURS[1], label="the program: only the last character counts")
axis.plot(*every.T, "o-", color=COLOURS[0], label="the formula: every character counts")
axis.axhline(bigram, color=COLOURS[7], ls=":", label="guessing from one character")
axis.set(xlabel="steps (the same 32 texts per step in both runs)", ylabel="held-out loss (nats)")
axis.set_title(f"One label per text, or {T}")
axis.legend(loc="upper right", fontsize=9)
picture

# %%
print(f"after {int(every[-1, 0])} steps: {every[-1, 1]:.2f} nats with every character, {last[-1, 1]:.2f} with the last")
claim("The model learns.", every[-1, 1] < every[0, 1])
if not FAST:
    claim("Only the formula beats the guess from one character.", every[-1, 1] < bigram < last[-1, 1])
    claim("The program stays more than 0.2 nats behind.", last[-1, 1] - every[-1, 1] > 0.2)

# %% [markdown]
# Both ways cost the same, because every state is computed anyway, but one learns from fifty labels where the other has
# only one. The formula's way beats the guess from one character within these few steps. The program's way does not, and
# stays more than 0.2 nats behind. The trained model really is the formula: put its weights into NumPy, and you get the
# same loss.

# %%
weights = {name: p.detach().double().numpy() for name, p in model.named_parameters()}
theta = {"embedding": weights["encoder.embedding.weight"], "W_y": weights["head.weight"], "b_y": weights["head.bias"]}
layers = range(1, len(model.encoder.lstm.cells) + 1)
for n in layers:
    theta |= {f"{w}{n}": weights[f"encoder.lstm.cells.{n - 1}.{w.rstrip('_')}"] for w in ("W_x", "W_h", "b_")}
w, y = held_out[0, :-1].numpy(), held_out[0, 1:].numpy()
model.double()
with torch.no_grad():
    logits = model(held_out[:1, :-1])[0]
if len(layers) == 2:  # F17 has two
    agree("F17, in minilm/formulas/lstm_model.py", lstm_model(theta, w), logits)
    agree("its loss", lstm_model_loss(theta, w, y), cross_entropy(logits, held_out[0, 1:]).value)

# %% [markdown]
# **Wrong, then right.** F17 ends in a softmax, but the library's model ends one step earlier, in logits. This is on
# purpose: a loss that takes logits applies the softmax itself. If you give it probabilities, the softmax is applied
# twice:

# %%
twice = cross_entropy(logits.softmax(dim=-1), held_out[0, 1:]).value.item()
once = cross_entropy(logits, held_out[0, 1:]).value.item()
least = np.log(np.e + V - 1) - 1  # softmax of a row with a single 1: the lowest loss that two softmaxes allow
print(f"loss of the same prediction: {once:.2f}; with two softmaxes: {twice:.2f}, and never below {least:.2f}")
claim("With two softmaxes the loss never falls below 3 nats.", twice > least > 3)
if not FAST:
    claim("With one it is below 3 nats already.", once < 3)

# %% [markdown]
# With the softmax applied twice, even a perfect prediction costs more than 3 nats here. The loss hardly moves, and no
# message tells you why.
#
# **What to try.** Train ten times as long, `10 * steps` for `model, every`, and then let the model write: begin with
# `ids_ = ids[:1]`, and repeat `ids_ = torch.cat([ids_, model(ids_[None])[0, -1].softmax(dim=-1).multinomial(1)])`, in
# which the model reads its own guesses. What does `"".join(letters[i] for i in ids_)` say? (Notebook 11 does more of
# this.) · Use one layer instead of two: `LSTMConfig(vocab_size=V, layers=1)`. · Use a forget bias of 4, as for
# vanishing gradients, in both cells: `for cell in model.encoder.lstm.cells: cell.b.data[128:256] = 4`, below the line
# of `model`.
#
# <details><summary>Answers</summary>
#
# 1. It writes letters in the shape of words, some of them real. The model has learned which characters follow each
#    other, and hardly more than that.
#
#    ```text
#    after 1200 steps: 1.62 nats with every character, 2.61 with the last
#    't is jetently does sophice .\nthisteless m'
#    ```
# 2. One layer learns about as fast here, or faster: 120 steps are too few for the second layer to pay.
#
#    ```text
#    after 120 steps: 2.08 nats with every character, 2.48 with the last
#    ```
# 3. Within 120 steps a gate that stands open costs a little: for the next character, near characters count most, and
#    the model has to learn to forget first.
#
#    ```text
#    after 120 steps: 2.32 nats with every character, 2.70 with the last
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
#
# 1. An LSTM adds to a memory that no matrix multiplies; gates between 0 and 1 decide what enters, what stays and what
#    is shown.
# 2. The bias of the forget gate is a half-life: 0 forgets within some steps, 4 keeps most of a memory over ten.
# 3. A GRU has one state and two gates, in two published forms whose weights must not be exchanged.
# 4. Gates make a road for the gradient, but only an open gate lets it pass; clipping helps against explosion, never
#    against vanishing.
# 5. D1's program learns from one label per text where its own formula learns from every word, and the difference is
#    large.
#
# **Where to read on.**
#
# * Hochreiter and Schmidhuber, 1997, *Long Short-Term Memory*
# * Gers, Schmidhuber and Cummins, 2000, *Learning to Forget: Continual Prediction with LSTM*: the forget gate
# * Cho and others, 2014, *Learning Phrase Representations using RNN Encoder–Decoder for Statistical Machine
#   Translation*: the GRU (arXiv:1406.1078)
# * Jozefowicz, Zaremba and Sutskever, 2015, *An Empirical Exploration of Recurrent Network Architectures*: why the
#   forget bias should start at 1
# * Olah, 2015, *Understanding LSTM Networks*: a page with drawings
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---|---|
# | `lstm_cell` | 30 | medium |
# | `lstm_bptt` | 60 | hard |
# | `clipping` | 15 | easy |
# | `gru_cell` | 25 | medium |
