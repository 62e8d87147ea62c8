# %% [markdown]
# # 02 · Gradients by hand and by machine
#
# > **Minutes.** 1 to run, about 65 to read and try.
# >
# > **You need** [notebook 01](01_learning_from_data.ipynb): what a risk is and how a walk downhill uses its slope.
# > From school, the
# > chain rule.
# >
# > **Afterwards you can** find a gradient in three ways: by the chain rule, by trying, and by a machine that applies
# > the chain rule
# > for you, which you will have written in thirty lines. You will also have proved that one formula of the documents is wrong.
# >
# > **The documents.** D0 §4.2: “可进一步递归展开，利用自动微分技术完成计算” (it can be expanded further, and automatic differentiation
# > computes it) · D1 §4.2: “对于文本生成任务，常用的损失函数为交叉熵损失” (for text generation, the usual loss is the cross-entropy)
# >
# > **Words.** [`agree`](GLOSSARY.md#agree), [`claim`](GLOSSARY.md#claim), [`FAST`](GLOSSARY.md#fast),
# > [logit](GLOSSARY.md#logit),
# > [nat](GLOSSARY.md#nat), [softmax](GLOSSARY.md#softmax), and the [documents and formulas](GLOSSARY.md#documents),
# > D0 and F06: all
# > of them are explained in [notebook 01](01_learning_from_data.ipynb) or below.
#
# Letters: $\theta$ the $n$ parameters, $N$ examples, $M(x_i)$ or $\hat y_i$ the probability that the model gives,
# $y_i$ the right
# answer, $z$ the logits, $K$ classes.

# %%
import numpy as np
import torch
from sklearn.datasets import load_digits

from minilm.formulas import binary_cross_entropy as bce, cross_entropy as ce
from minilm.training import losses
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)

# %% [markdown]
# ## The chain rule, as printed  (F06 · D0 §4.2, D4 §4.2.2)
# The risk of yes-or-no questions (F05) depends on the parameters through the probability $M(x_i)$ that the model
# gives. Both documents print its derivative with respect to the parameter $\theta_k$, and both are right:
#
# $$\frac{\partial L}{\partial \theta_k} = -\frac{1}{N} \sum_{i=1}^N
# \left(\frac{y_i}{M(x_i)} - \frac{1-y_i}{1-M(x_i)}\right) \frac{\partial M(x_i)}{\partial \theta_k}$$
#
# The bracket says how the risk changes with the answer. The last factor says how the answer changes with the
# parameter. There are $N$ examples and $n$ parameters; $y$ [N], $M$ [N], $\partial M / \partial \theta$ [N, n]. Our
# model is $M = \sigma(z)$ with $z = X\theta$ and $\sigma(z) = 1/(1 + e^{-z})$, so
# $\partial M / \partial \theta_k = M (1 - M)\, x_k$.

# %%
N, truth = 30, [0.5, 2.0, -1.0]
n = len(truth)
X = np.column_stack([np.ones(N), rng.normal(size=(N, n - 1))])  # the column of ones makes θ₀ a constant
y = (X @ truth + rng.normal(size=N) > 0).astype(float)
theta = rng.normal(size=n)


def M(theta):
    return 1 / (1 + np.exp(-X @ theta))


def L(theta):
    return -np.mean(y * np.log(M(theta)) + (1 - y) * np.log(1 - M(theta)))


y_hat = M(theta)
dM = (y_hat * (1 - y_hat))[:, None] * X  # [N, n]
printed = -(y / y_hat - (1 - y) / (1 - y_hat)) @ dM / N  # [n]
agree("F06, in minilm/formulas", printed, bce.parameter_gradient(y_hat, y, dM))
by_torch = torch.tensor(theta, requires_grad=True)
losses.binary_cross_entropy(torch.tensor(X) @ by_torch, torch.tensor(y)).value.backward()
agree("F06, and the gradient of minilm/training/losses.py by PyTorch", printed, by_torch.grad)

# %% [markdown]
# ## A slope by trying: finite differences  (F06 · D0 §4.2, D4 §4.2.2)
# Two programs can agree and share the same mistake. Finite differences are an independent judge, because they use only
# the values of $L$: move one parameter a little in both directions and see how $L$ changes,
#
# $$\frac{\partial L}{\partial \theta_k} \approx \frac{L(\theta + h e_k) - L(\theta - h e_k)}{2h}$$
#
# ($e_k$ [n] has a 1 at place $k$.) Every gradient of this project is checked in this way, in `tests/referees.py`.


# %%
def tried(f, theta, h=1e-5):
    slopes = []
    for k in range(len(theta)):
        e = np.zeros_like(theta)
        e[k] = h
        slopes.append((f(theta + e) - f(theta - e)) / (2 * h))
    return np.array(slopes)


agree("by trying", tried(L, theta), printed, atol=1e-9)

# %% [markdown]
# **Wrong, then right.** Is a smaller $h$ always better? Only up to a point. Numbers have sixteen digits. The nearer
# $L(\theta + h)$ and $L(\theta - h)$ are to each other, the more of these digits they share, and their difference keeps
# only the rest. On the right of the picture, the formula is inaccurate (by $h^2$, or by $h$ if you step to one side
# only). On the left, rounding makes it inaccurate: its error is about $10^{-16}/h$. The best $h$ lies between.

# %%
sizes = np.logspace(-13, -0.5, 26)
both = [np.abs(tried(L, theta, h) - printed).max() for h in sizes]
e0 = np.eye(n)[0]
one_sided = [abs((L(theta + (h * e0).astype(theta.dtype)) - L(theta)) / h - printed[0]) for h in sizes]
picture, axis = panels(1, 1, width=6.5)
axis.loglog(sizes, one_sided, "s-", ms=4, color=COLOURS[1], label="one side: (L(θ+h) − L(θ)) / h")
axis.loglog(sizes, both, "o-", ms=4, color=COLOURS[0], label="both sides: (L(θ+h) − L(θ−h)) / 2h")
axis.set(xlabel="h", ylabel="error of the slope", title="The best h is neither too large nor too small")
for ticks in (axis.xaxis, axis.yaxis):
    ticks.set_major_formatter("{x:.0e}")
axis.legend(fontsize=10)
picture

# %%
best = sizes[np.argmin(both)]
print(f"the best h of this list, with both sides: {best:.0e}")
claim("The best h lies between 10⁻⁷ and 10⁻⁴.", 1e-7 < best < 1e-4)
claim("The smallest h is ten thousand times worse.", both[0] > 1e4 * min(both))

# %% [markdown]
# **What to try.** Do the same in single precision: put `theta, X, y = (a.astype(np.float32) for a in (theta, X, y))`
# above the line of `sizes`. Where is the best $h$ now? (This is why the tests of this project run in double precision.)
#
# <details><summary>Answers</summary>
#
# 1. The left wall of the picture moves far to the right: single precision has seven digits instead of sixteen, so that
#    rounding errors are larger by a factor of about $10^9$.
#
#    ```text
#    no longer true: The best h lies between 10⁻⁷ and 10⁻⁴.
#    ```
# 2. At about $10^{-2}$, and even there the slope has only few correct digits. A check that accepts such a slope would
#    also accept many wrong ones.
#
#    ```text
#    the best h of this list, with both sides: 1e-02
#    ```
#
# </details>
#
# ## The same gradient, simpler and safe  (F06 · D0 §4.2)
# Put $\partial M/\partial\theta = M(1-M)\,\partial z/\partial\theta$ into F06, where $z$ is the *logit*, the number
# that goes into the sigmoid. The denominators cancel, for yes and for no. What remains is *the model's answer minus
# the right answer*:
#
# $$\frac{\partial L}{\partial \theta_k} = \frac{1}{N} \sum_i (\hat y_i - y_i) \frac{\partial z_i}{\partial \theta_k}$$

# %%
collapsed = (y_hat - y) @ X / N
agree("the printed form and the short one", printed, collapsed)
agree("in minilm/formulas", collapsed, bce.parameter_gradient_from_logits(X @ theta, y, X))

# %% [markdown]
# **Wrong, then right.** On paper the two forms are equal. In the machine they are not. Models are trained in single
# precision, which has seven digits: at $z = 17$ the sigmoid has been rounded to exactly 1. If the answer was no, F04
# takes $\log 0$, and F06 multiplies $1/0$ by $0$. The result is NaN, and after one such step *every* parameter is
# NaN. Written in terms of the logits, the loss is $\log(1 + e^z) - yz$. When the larger exponent is taken out first,
# nothing overflows, and nothing is divided.

# %%
z = np.linspace(-5, 30, 141, dtype=np.float32)  # the answer is no, y = 0
one = np.float32(1)
with np.errstate(all="ignore"):  # these warnings are the point here, but they would fill the page
    sigma = safe_slope = one / (one + np.exp(-z))
    d_sigma = sigma * (one - sigma)
    naive_loss = -np.log(one - sigma)
    naive_slope = one / (one - sigma) * d_sigma
safe_loss = np.logaddexp(np.float32(0), z)
broken = ~np.isfinite(naive_loss)
for at in np.flatnonzero(broken)[:1]:
    print(f"the printed form breaks at z = {z[at]:g}: loss {naive_loss[at]}, slope {naive_slope[at]}")
agree("minilm/formulas, at 1000", bce.binary_cross_entropy_with_logits(np.array([1000.0]), np.array([0])), 1000)

# %%
picture, (left, right) = panels(1, 2)
for axis, naive, safe in ((left, naive_loss, safe_loss), (right, naive_slope, safe_slope)):
    axis.plot(z, safe, color=COLOURS[2], lw=5, alpha=0.4, label="from the logit")
    axis.plot(z, np.where(np.isfinite(naive), naive, np.nan), color=COLOURS[1], label="as printed")
    for at in z[broken][:1]:
        axis.axvline(at, color="black", ls=":", lw=1)
    axis.set(xlabel="logit z (the right answer is no)")
left.set(title="Loss: infinite from the dotted line on" if broken.any() else "Loss", ylabel="loss")
right.set(title="Slope: NaN from the dotted line on" if broken.any() else "Slope", ylabel="slope")
left.legend()
picture

# %%
first = z[broken].min(initial=np.inf)
claim("As printed, the loss is infinite from about z = 17 on.", 16 < first < 18)
claim("There the slope is NaN.", np.isnan(naive_slope[broken]))
claim("Computed from the logit, both are finite everywhere.", np.isfinite([safe_loss, safe_slope]))

# %% [markdown]
# **What to try.** A common patch is to clip $\hat y$ to $[10^{-7}, 1 - 10^{-7}]$, which makes the loss finite. Put two
# lines above the line of `naive_loss`: `d_sigma = d_sigma * (sigma < 1 - 1e-7)`, because a clipped value has no slope,
# and `sigma = sigma.clip(1e-7, 1 - 1e-7)`. What is the slope at $z = 20$ now, and what does a model learn from its worst
# mistakes?
#
# <details><summary>Answers</summary>
#
# 1. The slope is 0, where it should be 1. Nothing is infinite any more, but from its worst mistakes the model learns
#    nothing: the patch has replaced a loud fault by a silent one.
#
#    ```text
#    [0.]
#    no longer true: There the slope is NaN.
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start binary_cross_entropy`
#
# ## Many classes: softmax and cross-entropy  (F08, F11 · D0 §4.3, D1 §4.2)
# With $K$ classes, the *softmax* turns the logits $z$ [K] into probabilities. The loss is the cross-entropy between
# these and the answer $y$ [K], which is 1 at the right class and 0 elsewhere:
#
# $$\hat y_k = \frac{e^{z_k}}{\sum_j e^{z_j}}, \qquad H = -\sum_k y_k \log \hat y_k$$
#
# Every denominator contains all logits, so each probability depends on each logit. The derivative is therefore a
# matrix, the *Jacobian* $\partial \hat y_k / \partial z_j = \hat y_k (1[j = k] - \hat y_j)$ [K, K]. Multiply
# $\partial H/\partial \hat y_k = -y_k / \hat y_k$ by it, and again only $\hat y - y$ is left.

# %%
K = 5
z, answer = rng.normal(scale=1.5, size=K), K - 2
y_hat = np.exp(z - z.max())  # subtracting the largest keeps the quotient, and exp cannot overflow
y_hat /= y_hat.sum()
y = np.eye(K)[answer]
jacobian = np.diag(y_hat) - np.outer(y_hat, y_hat)  # [K, K]
long_way = (-y / y_hat) @ jacobian
agree("the long way and the short one", long_way, y_hat - y)
agree("the same product without writing the Jacobian down", long_way, ce.softmax_gradient(z, -y / y_hat))
agree("the gradient of the cross-entropy", long_way, ce.cross_entropy_gradient(z[None], np.array([answer]))[0])
agree(
    "the value of the loss",
    -np.log(y_hat[answer]),
    losses.cross_entropy(torch.tensor(z)[None], torch.tensor([answer])).value,
)

# %%
picture, (left, right) = panels(1, 2, width_ratios=[1, 1.3])
image = left.imshow(jacobian, cmap="RdBu", vmin=-0.25, vmax=0.25)
picture.colorbar(image, ax=left, shrink=0.8, label="∂ probability k / ∂ logit j")
for (k, j), slope in np.ndenumerate(jacobian):
    ink = "white" if abs(slope) > 0.15 else "black"
    left.text(j, k, f"{slope:+.2f}", ha="center", va="center", fontsize=min(9, 45 / K), color=ink)
left.set(title="Jacobian of the softmax", xlabel="logit j", ylabel="probability k")
places = np.arange(K)
right.bar(places - 0.2, y_hat, 0.4, color=COLOURS[0], label="the model's probabilities, ŷ")
right.bar(places + 0.2, y_hat - y, 0.4, color=COLOURS[1], label="the gradient, ŷ − y")
right.axhline(0, color="black", lw=0.8)
right.set(title=f"The right answer is class {answer}", xlabel="class", xticks=places)
right.legend(fontsize=10, loc="lower left")
picture

# %%
claim("Each column of the Jacobian sums to 0.", np.allclose(jacobian.sum(axis=0), 0))
claim("The gradient is negative at the right answer and positive elsewhere.", ((y_hat - y < 0) == (places == answer)))

# %% [markdown]
# Each column of the Jacobian sums to 0: what one class gains, the others lose. A step *against* the gradient raises
# the logit of the right answer and lowers all others, each in proportion to the probability that it was wrongly
# given.
#
# **Wrong, then right.** This is one of the most frequent mistakes in programs: the model ends in a softmax, and the
# loss applies the softmax once more. Nothing fails, and the loss even falls. But probabilities lie between 0 and 1, and
# the softmax of such numbers can never be sure.

# %% [markdown]
# **Predict first.** A model gives the right one of three classes the probability 1, and the loss takes the softmax of
# these probabilities once more. Is the loss 0?
#
# <details><summary>Answer</summary>
#
# No. The softmax of 0, 0 and 1 is at most $e/(2 + e) = 0.58$, so that the perfect answer costs $\log(1 + 2/e) = 0.55$
# nats. No model can do better, and the gradient never becomes 0.
#
# </details>

# %%
perfect = np.array([[0.0, 0.0, 1.0]])  # a model that knows: it gives class 2 the probability 1
twice, once = ce.cross_entropy(perfect, np.array([2])), ce.sequence_cross_entropy(perfect, perfect)
print(f"loss of a perfect answer: {abs(once):.3f} with one softmax, {twice:.3f} with two")
claim("With one softmax a perfect answer costs nothing.", once == 0)
claim("With two it costs log(1 + 2/e).", np.isclose(twice, np.log(1 + 2 * np.exp(-1))))

# %% [markdown]
# **What to try.** Make the logits ten times as large, `[ce.softmax_gradient(10 * z, row) for row in np.eye(K)]`: how
# large is the largest entry of the Jacobian, now that $\hat y$ is nearly certain? (This is why attention divides its
# scores by $\sqrt{D}$; see notebook 04.) Then call
# `ce.cross_entropy_gradient(z[None], np.array([answer]), smoothing=0.1)`: what becomes of $\hat y - y$?
#
# <details><summary>Answers</summary>
#
# 1. It is about $10^{-5}$, where it was 0.24 before: $\hat y_k (1 - \hat y_k)$ vanishes when $\hat y_k$ is nearly
#    0 or 1. A softmax that is certain passes hardly any gradient on.
#
#    ```text
#    np.float64(1.0224575866585868e-05)
#    ```
# 2. It becomes $\hat y - y'$, where the smoothed answer $y'$ is 0.92 at the right class and 0.02 elsewhere. Compare the
#    two rows: 0.08 less is asked of the right class, and 0.02 more of each other one.
#
#    ```text
#    [ 0.02059606  0.1579627   0.55483071 -0.76422537  0.0308359 ] [ 0.04059606  0.1779627   0.57483071 -0.84422537  0.0508359 ]
#    ```
#
# </details>
#
# **Exercises.** `minilm exercise start softmax` · `log_softmax` · `cross_entropy` · `cross_entropy_gradient` ·
# `label_smoothing`
#
# ## A loss that never looks at the answer  (F11 · D1 §4.2)
# For a text of $T$ words over a vocabulary of $V$ words, D1 prints the cross-entropy (交叉熵) with one letter where
# two are needed:
#
# $$L = -\sum_{t=1}^{T} \sum_{i=1}^{V} y_t(i) \log y_t(i)$$
#
# and says that $y_t(i)$ is the probability that the model gives to word $i$. Then this is the *entropy of the
# prediction*, and the answer does not occur in it. The formula should be $-\sum_t \sum_i y_t(i) \log \hat y_t(i)$,
# with the answer $y$ outside the logarithm and the prediction $\hat y$ inside.
#
# **Wrong, then right.** The right answer is word 1, and the model believes more and more firmly in word 0:

# %%
belief = np.array([0.5, 0.7, 0.9, 0.99, 0.999])
answer = np.array([[0.0, 1.0]])
for p in belief:
    y_hat = np.array([[p, 1 - p]])
    by_hand = -(y_hat * np.log(y_hat)).sum()
    agree(f"printed loss, probability {p} for the wrong word", by_hand, ce.cross_entropy_as_printed(y_hat))
printed = [ce.cross_entropy_as_printed(np.array([[p, 1 - p]])) for p in belief]
right = [ce.sequence_cross_entropy(np.array([[p, 1 - p]]), answer) for p in belief]
print("printed:", np.round(printed, 3), " corrected:", np.round(right, 3))
claim("The surer the wrong answer, the smaller the printed loss.", np.diff(printed) < 0)
claim("The surer the wrong answer, the larger the corrected loss.", np.diff(right) > 0)

# %% [markdown]
# The surer the model is of the *wrong* word, the smaller the printed loss becomes. Now let two models learn to read
# handwritten digits (8 × 8 points, ten classes), one with each loss. The model is a single product: logits = pixels ·
# W.

# %% [markdown]
# **Predict first.** What share of the ten digits will the model read that is trained with the printed loss?
#
# <details><summary>Answer</summary>
#
# About a tenth, as many as by guessing. The printed loss only asks it to be sure, and it becomes sure of whatever class
# it happens to prefer at the start.
#
# </details>

# %%
pixels, digit = load_digits(return_X_y=True)
pixels, T = pixels / 16, 600 if FAST else 1797
pixels, digit = pixels[:T], digit[:T]
start = rng.normal(scale=0.05, size=(64, 10))
slopes = {
    "as printed": lambda z: ce.cross_entropy_as_printed_gradient(z) / T,
    "as corrected": lambda z: ce.cross_entropy_gradient(z, digit),
}


def trained(W, slope):
    """The weights after 300 steps from `W`, and in each step: the printed loss, the true loss, the share read right."""
    curve = []
    for _ in range(300):
        z = pixels @ W  # [T, 10]
        printed_loss = ce.cross_entropy_as_printed(ce.softmax(z)) / T
        curve.append((printed_loss, ce.cross_entropy(z, digit), (z.argmax(1) == digit).mean()))
        W = W - 2.0 * pixels.T @ slope(z)
    return W, np.array(curve)


W, curves = {}, {}
for name, slope in slopes.items():
    W[name], curves[name] = trained(start, slope)
ends = {name: curve[-1] for name, curve in curves.items()}
for name, (entropy, true, accuracy) in ends.items():
    print(f"{name:12}: printed loss {entropy:.2f}, true loss {true:.2f}, {accuracy:.0%} of the digits read correctly")

# %%
picture, axes = panels(1, 3, width=10.5)
titles = ("The printed loss", "The true loss", "Share of digits read correctly")
for column, (axis, title) in enumerate(zip(axes, titles)):
    for (name, curve), colour in zip(curves.items(), (COLOURS[1], COLOURS[0], *COLOURS[2:])):
        axis.plot(curve[:, column], color=colour, label=f"trained with the loss {name}")
    axis.set(title=title, xlabel="step", ylim=(0, None))
axes[2].axhline(0.1, color="black", ls=":", lw=1)
axes[1].legend(fontsize=9)
picture

# %%
wrong, right = curves["as printed"], curves["as corrected"]
claim("The printed loss falls below 0.2 nats.", wrong[-1, 0] < 0.2)
claim("By the true loss, that model has got worse.", wrong[-1, 1] > wrong[0, 1])
claim("It reads fewer than 30 % of the digits, the other one more than 90 %.", wrong[-1, 2] < 0.3 < 0.9 < right[-1, 2])

# %% [markdown]
# The model trained with the printed loss has become certain, and it reads about as many digits as guessing would (the
# dotted line). The gradients that D1 §4.2 prints below the loss (F12–F14) have a fault of their own: they subtract the
# same letter from itself, which gives zero; see notebook 08.
#
# **What to try.** Let the printed loss start from the weights that the right loss has found. Below the loop, add
# `curves["as printed, later"] = trained(W["as corrected"], slopes["as printed"])[1]`: what does the printed loss do to a
# model that is already good?
#
# <details><summary>Answers</summary>
#
# 1. It makes the good model worse, from 98 % to 96 % and from 0.12 to 0.18 nats. It does not ruin it as quickly as a
#    new one, because it makes the model surer of what it believes, and most of what this model believes is right.
#
#    ```text
#    as corrected: printed loss 0.27, true loss 0.12, 98% of the digits read correctly
#    as printed, later: printed loss 0.10, true loss 0.18, 96% of the digits read correctly
#    ```
#
# </details>
#
# ## Thirty lines that differentiate for you  (F06 · D0 §4.2)
# D0 says that $\partial M/\partial\theta$ is found "by automatic differentiation" (自动微分), and does not explain
# it. It is no magic. Every value remembers which values it was made from, and the slope of that one small operation.
# The chain rule is then a walk through these memories, from the loss back to the parameters. This is called *reverse
# mode*, or back-propagation (反向传播).


# %%
class Number:
    tape = []  # all numbers in the order in which they were made: each comes after the numbers it was made from

    def __init__(self, value, parents=()):
        self.value, self.parents, self.slope = value, parents, 0.0
        Number.tape.append(self)

    def __add__(self, other):
        return Number(self.value + other.value, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Number(self.value * other.value, [(self, other.value), (other, self.value)])

    def tanh(self):
        t = np.tanh(self.value)
        return Number(t, [(self, 1 - t**2)])

    def log_one_plus_exp(self):
        return Number(np.logaddexp(0, self.value), [(self, bce.sigmoid(self.value))])

    def backward(self):
        self.slope = 1.0  # ∂L/∂L
        for number in reversed(Number.tape):
            for parent, slope in number.parents:
                parent.slope += slope * number.slope  # the chain rule; we add because a value may be used twice


# %% [markdown]
# That is all. Now build a small network with it: two inputs, a few hidden units with tanh, one logit, and the loss in
# terms of the logit, $\log(1 + e^z) - yz$.


# %%
def network_loss(theta, x, y, hidden):
    """θ holds, for each hidden unit, two weights, a constant and the weight of its output."""
    z = Number(0.0)
    for h in range(hidden):
        w0, w1, constant, out = theta[4 * h : 4 * h + 4]
        z = z + (w0 * Number(x[0]) + w1 * Number(x[1]) + constant).tanh() * out
    return z.log_one_plus_exp() + z * Number(-y)


hidden = 3
x, answer, start = [0.7, -1.2], 1.0, rng.normal(size=4 * hidden)
theta = [Number(value) for value in start]
loss = network_loss(theta, x, answer, hidden)
loss.backward()

by_torch = torch.tensor(start, requires_grad=True)
w = by_torch.view(hidden, 4)
z = (torch.tanh(w[:, :2] @ torch.tensor(x, dtype=torch.float64) + w[:, 2]) * w[:, 3]).sum()
library = losses.binary_cross_entropy(z[None], torch.tensor([answer], dtype=torch.float64)).value
library.backward()
agree("the loss", loss.value, library)
agree(f"all {len(theta)} slopes, ours and PyTorch's", [number.slope for number in theta], by_torch.grad)
value = lambda theta: network_loss([Number(t) for t in theta], x, answer, hidden).value  # noqa: E731
agree(
    f"all {len(theta)} slopes, ours and by trying", [number.slope for number in theta], tried(value, start), atol=1e-9
)

# %% [markdown]
# Finite differences give the same numbers, so why is reverse mode so important? Count the operations. Trying needs two
# evaluations of the loss for *each* parameter. Reverse mode needs one evaluation and one walk back over it, no matter
# how many parameters there are.

# %% [markdown]
# **Predict first.** The largest network below has 256 parameters. How many times as many operations does a gradient
# need by trying as in reverse?
#
# <details><summary>Answer</summary>
#
# 256 times: trying needs two evaluations for each parameter, $2 · 256$ in all, and the reverse mode needs one
# evaluation and one walk back, which count as 2.
#
# </details>

# %%
widths = [1, 2, 4, 8, 16, 32, 64]
costs = {"by trying": [], "in reverse": []}
for hidden in widths:
    Number.tape.clear()
    network_loss([Number(t) for t in rng.normal(size=4 * hidden)], x, answer, hidden)
    once = len(Number.tape)
    costs["by trying"].append(2 * 4 * hidden * once)
    costs["in reverse"].append(2 * once)  # forward and back
picture, axis = panels(1, 1, width=6)
for (name, cost), colour in zip(costs.items(), COLOURS[1::-1]):
    axis.loglog([4 * hidden for hidden in widths], cost, "o-", color=colour, label=name)
for ticks in (axis.xaxis, axis.yaxis):
    ticks.set_major_formatter("{x:,.0f}")
axis.set(xlabel="parameters", ylabel="operations", title="The price of one gradient")
axis.legend()
picture

# %%
ratio = costs["by trying"][-1] / costs["in reverse"][-1]
claim("With 256 parameters, trying costs more than two hundred times as much.", widths[-1] == 64 and ratio > 200)

# %% [markdown]
# A small Transformer has a million parameters.
#
# **Wrong, then right.** Write `=` instead of `+=` in `backward`, as nearly everybody does the first time. This passes
# every test in which no value is used twice, but a network uses nearly everything twice. The slope of $a^2 + a$ at 3
# is 7:


# %%
def backward_wrong(last):
    last.slope = 1.0
    for number in reversed(Number.tape):
        for parent, slope in number.parents:
            parent.slope = slope * number.slope  # the last one overwrites the others


slopes = []
for backward in (Number.backward, backward_wrong):
    Number.tape.clear()
    a = Number(3.0)
    backward(a * a + a)
    slopes.append(a.slope)
print("with += the slope is {:g}, with = it is {:g}".format(*slopes))
claim("Only += gives 7.", slopes[0] == 7 and slopes[1] != 7)

# %% [markdown]
# PyTorch adds gradients up too, and it goes on adding from one `backward` to the next. This is why every training
# loop has to clear the gradients between two steps (`zero_grad` in `minilm/training/optimizer.py`).
#
# **What to try.** Give `Number` an `exp` and a division, and build the sigmoid $M = e^z/(e^z + 1)$ out of them: which
# slope has $M$ at $z = 1$, and is it $M(1-M)$? In the cell of the small network, call `loss.backward()` twice: what are
# the slopes then, and why?
#
# <details><summary>Answers</summary>
#
# 1. Yes: the slope is 0.1966, and $M(1-M)$ is the same number. The machine found it with the rules for exp, for a sum
#    and for a quotient, and $e^z$ is used twice, so that its two slopes are added up.
#
#    ```text
#    slope 0.196611933241, M(1 - M) 0.196611933241
#    ```
# 2. They are more than twice as large. The second walk adds to the slopes of the first, and so does every value in
#    between, which passes the sum on: a value that is $k$ operations away from the loss ends with $k + 1$ times its slope.
#
#    ```text
#    no longer equal: all 12 slopes, ours and PyTorch's: they differ by 4.6e+00, more than 1e-10
#    ```
#
# </details>
#
# `minilm/formulas/rnn.py` takes the same walk by hand through a whole sequence (notebook 08).

# %% [markdown]
# ## In five lines
#
# 1. The gradient of the cross-entropy with respect to the logits is $\hat y - y$: the model's answer minus the right one.
# 2. Finite differences judge every gradient independently; the best step is neither large nor tiny, and it needs
# double precision.
# 3. Compute losses from the logits: the printed form is right on paper and gives infinity and NaN in the machine.
# 4. D1 prints a cross-entropy in which the answer does not occur. It falls while the model gets worse; look at the
# accuracy, too.
# 5. Reverse mode gives all slopes for the price of two evaluations, and it *adds*, because a value may be used twice.
#
# **Where to read on.**
#
# * Rumelhart, Hinton and Williams, 1986, *Learning representations by back-propagating errors*
# * Baydin, Pearlmutter, Radul and Siskind, 2018, *Automatic differentiation in machine learning: a survey* (arXiv:1502.05767)
# * Szegedy and others, 2016, *Rethinking the Inception architecture for computer vision*, §7: label smoothing
# (arXiv:1512.00567)
# * Karpathy, *micrograd*: a differentiating machine of about a hundred lines, with a lecture
#
# **Exercises.** The minutes are estimates.
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `softmax` | 15 | easy |
# | `log_softmax` | 15 | easy |
# | `cross_entropy` | 25 | medium |
# | `cross_entropy_gradient` | 20 | medium |
# | `label_smoothing` | 25 | medium |
# | `binary_cross_entropy` | 25 | medium |
