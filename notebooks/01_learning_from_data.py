# %% [markdown]
# # 01 · Learning from data
#
# > **Minutes.** 1 to run, about 75 to read and try.
# >
# > **You need** Python with a little NumPy, and school calculus: what a slope is.
# >
# > **Afterwards you can** explain what it means that a model *learns*: a number says how wrong it is, and training
# > walks downhill
# > on it. You can read "fine-tuned with AdamW, warm-up and weight decay" and know what each word does.
# >
# > **The documents.** D0 §4.1: “微调的优化目标是最小化经验风险” (the aim of fine-tuning is the least empirical risk) · D4 §4.1.2:
# > “通过梯度下降等优化算法，微调过程不断更新模型参数” (with gradient descent or a similar algorithm, fine-tuning updates the
# > parameters again and again) · D0 §3.2: “应用正则化技术，防止过拟合，如L2正则、Dropout、Early Stopping等” (regularisation against
# > overfitting, such as L2, dropout and early stopping)
# >
# > **Words.** The other notebooks rely on the words that are explained here, in the list below, and in the text:
# > *batch*, *epoch*,
# > *logit* and *nat*. The [glossary](GLOSSARY.md#words-that-the-notebooks-use) has all of them.
#
# These are in every notebook:
#
# * **D0 to D4** are the five Chinese documents that the notebooks work through; *D0 §4.1* is section 4.1 of D0. **F01
# to F37** are
#   their formulas. Both stand after the headings: the section below treats F01, which D0 prints in §4.1. [INDEX.md](INDEX.md)
#   lists all of them.
# * `agree("what", a, b)` prints how close two results are: what we computed by hand, for instance, and what the library says.
# * `claim("a sentence", ok)` prints a sentence about the results above it, with a tick if it is true. Change whatever you like:
#   if a sentence is "no longer true" afterwards, nothing is broken, and you have found out what it depends on.
# * `FAST` is true only if you set `MINILM_FAST=1` before you start Jupyter. Then a notebook computes less, for tests and slow
#   machines.
# * `panels` makes a figure and its axes.
# * **Predict first** asks what the next cell will show. Write your guess down before you run it, and then open the answer. The
#   suggestions at the end of many sections have folded answers, too; they show what the changed notebook printed.
# * **Exercise.** `minilm exercise start NAME` puts a file with the task into a folder of yours; `minilm exercise
# check NAME` runs
#   what you wrote and says which mistake you made, if any.
#
# Letters: $x$ inputs, $y$ right answers, $\hat y$ or $P$ the model's answers, $N$ examples, $\theta$ the $n$
# parameters, $L$ the
# risk, $\ell$ the loss of one example, $\eta$ the learning rate. `[N, n]` behind a letter is its shape.

# %%
import numpy as np
import torch

from minilm.formulas import binary_cross_entropy as bce, optimizers, risk
from minilm.training import losses, optimizer, schedule
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import agree, claim, panels

rng = np.random.default_rng(0)

# %% [markdown]
# ## How wrong is a model?  (F01 · D0 §4.1)
# D0 calls this number the *empirical risk* (经验风险): the mean loss of the model's answers over $N$ examples.
#
# $$L(\theta) = \frac{1}{N} \sum_{i=1}^{N} \ell\big(y_i, P(y \mid x_i; \theta)\big)$$
#
# Here $x_i$ is an input, $y_i$ is the right answer, $\theta$ [n] are the $n$ parameters (the numbers that may be
# changed), and $\ell$ is the loss of one example. Our model is a straight line, $P = \theta_0 + \theta_1 x$, and the
# loss is the squared error, $(P - y)^2$. It has only two parameters, so that we can *see* $L$.

# %%
N = 40
x = rng.uniform(-1, 1, N)
y = 0.5 + 2 * x + rng.normal(scale=0.4, size=N)  # the truth, which the model does not know, plus noise


def loss(p, y):
    return (p - y) ** 2  # the squared error of a prediction


def L(theta):
    total = 0.0
    for i in range(N):
        p = theta[0] + theta[1] * x[i]  # the model's prediction
        total += loss(p, y[i])
    return total / N


guess = np.array([-0.5, 0.5])
print(f"the risk of the guess: {L(guess):.2f}")
agree("risk of a guess", L(guess), risk.empirical_risk(guess, x, y, risk.polynomial, risk.squared_error))

# %% [markdown]
# Every $\theta$ is a line in the left picture and a point in the right picture. The rings connect points of equal
# risk. Together they show a bowl, seen from above.


# %%
def bowl(axis, x, a, b, levels=12):
    heights = loss(a[:, None, None] + b[:, None] * x, y).mean(axis=-1).T
    rings = heights.min() + np.ptp(heights) * np.geomspace(0.002, 1, levels)
    axis.contour(a, b, heights, levels=rings, colors="#C0C8D0")
    axis.set(xlabel="θ₀ (height at x = 0)", ylabel="θ₁ (slope)")


def log_scale(axis):
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("")


grid = np.linspace(-1.5, 2.5, 60), np.linspace(-0.5, 4.5, 60)
picture, (left, right) = panels(1, 2)
left.plot(x, y, ".", color="#888888")
bowl(right, x, *grid)
for theta, colour in zip(([-0.5, 0.5], [1.5, 3.5], [0.5, 2.0]), COLOURS):
    left.plot([-1, 1], [theta[0] - theta[1], theta[0] + theta[1]], color=colour, label=f"L = {L(theta):.2f}")
    right.plot(*theta, "o", color=colour)
left.set(title="Three lines …", xlabel="x", ylabel="y")
left.legend()
right.set_title("… and their places in the bowl")
picture

# %% [markdown]
# **Wrong, then right.** Using the sum instead of the mean looks harmless, because the lowest point stays where it is.
# But the slope grows with the number of examples, and so does every step that we are going to take: a learning rate
# that suits forty examples is far too large for four thousand. With the mean, one learning rate works for any number
# of examples.

# %%
twice = np.tile(x, 2), np.tile(y, 2)  # the same examples, each one twice
sums = [sum((guess[0] + guess[1] * xi - yi) ** 2 for xi, yi in zip(*data)) for data in ((x, y), twice)]
means = [risk.empirical_risk(guess, *data, risk.polynomial, risk.squared_error) for data in ((x, y), twice)]
print(f"{N} and {2 * N} examples: sum {sums[0]:.1f} and {sums[1]:.1f}, mean {means[0]:.3f} and {means[1]:.3f}")
claim(
    "With twice as many examples the sum doubles, and the mean stays.",
    np.allclose([sums[1] / 2, means[1]], [sums[0], means[0]]),
)

# %% [markdown]
# **What to try.** Replace the square in `loss` by the absolute error, `abs(p - y)`: what happens to the rings? Make
# one example wild by adding `y[0] = 10` below the line of `y`: which of the two losses reacts more strongly?
#
# <details><summary>Answers</summary>
#
# 1. The rings get corners: the risk is now made of straight pieces, with an edge wherever the line passes through an
#    example. The library's risk still squares, so that `agree` reports a difference.
#
#    ```text
#    the risk of the guess: 1.36
#    no longer equal: risk of a guess: they differ by 1.3e+00, more than 1e-10
#    ```
# 2. The squared error. The one example doubles it, from 2.62 to 5.28, but moves the mean absolute error only from 1.36
#    to 1.60 (both edits together). An error that is ten times as large counts a hundred times as much when it is
#    squared.
#
#    ```text
#    the risk of the guess: 5.28
#    the risk of the guess: 1.60
#    ```
#
# </details>
#
# ## Looking for the lowest point  (F02 · D0 §4.1, D4 §4.1.1)
# Learning means looking for the parameters with the least risk:
#
# $$\theta^* = \arg\min_\theta L(\theta)$$
#
# You could try every place on a grid. For two parameters, a grid of $100 \times 100$ is enough. For the million
# parameters of a small Transformer, you would need $100^{1000000}$ evaluations. So nobody tries every place. Instead
# we walk: from where we stand, we go downhill.


# %%
def gradient(theta):
    error = theta[0] + theta[1] * x - y  # [N]
    return np.array([2 * error.mean(), 2 * (error * x).mean()])


by_hand = risk.empirical_risk_gradient(
    guess, x, y, risk.polynomial, risk.polynomial_gradient, risk.squared_error_gradient
)
agree("the gradient of L, computed in two ways", gradient(guess), by_hand)

fine = np.stack(np.meshgrid(np.linspace(0, 1, 101), np.linspace(1.5, 2.5, 101)), axis=-1).reshape(-1, 2)
everywhere = risk.argmin(lambda t: ((t[0] + t[1] * x - y) ** 2).mean(), fine)
walked = risk.gradient_descent(gradient, np.zeros(2), learning_rate=0.3, steps=100)[-1]
print(f"{len(fine):,} grid points: {everywhere.round(2)}    100 steps: {walked.round(2)}")
claim("The two agree to about one step of the grid.", np.abs(everywhere - walked).max() < 0.011)

# %% [markdown]
# The document adds a sentence on which this whole project depends: in *fine-tuning* (微调), the same search starts
# from the parameters that pretraining has found, not from random ones. The formula stays the same. Only the starting
# point changes:

# %%
starts = {"far away": walked + 2.0, "close by": walked + 0.02}
for name, start in starts.items():
    path = risk.gradient_descent(gradient, start, learning_rate=0.3, steps=100)
    steps = int(np.argmax(np.abs(path - walked).max(axis=1) < 0.01))
    print(f"from {name}: {steps} steps until both parameters are within 0.01 of the goal")
    starts[name] = steps
claim("The near start needs less than a third of the steps.", starts["close by"] * 3 < starts["far away"])

# %% [markdown]
# ## One step  (F03 · D0 §4.1, D4 §4.1.2)
# The gradient $\nabla_\theta L$ [n] points in the direction of the steepest climb, so we go the opposite way.
# The *learning rate* $\eta$ (学习率) says how far:
#
# $$\theta \leftarrow \theta - \eta \, \nabla_\theta L(\theta)$$


# %%
def walk(theta, learning_rate, steps):
    path = [theta]
    for _ in range(steps):
        path.append(path[-1] - learning_rate * gradient(path[-1]))
    return np.array(path)


agree("twenty steps", walk(guess, 0.3, 20), risk.gradient_descent(gradient, guess, 0.3, 20))

curvature = np.array([[2, 2 * x.mean()], [2 * x.mean(), 2 * (x**2).mean()]])  # ∂²L/∂θ²: how the slope changes
limit = risk.largest_safe_rate(curvature)
print(f"the largest learning rate that does not climb: {limit:.2f}")

# %% [markdown]
# **Wrong, then right.** With a learning rate that is too large, a model does not just learn badly: its risk grows.
# Each step jumps across the valley and lands higher on the other side. We can compute where this begins: at
# $2/\lambda_{\max}$, where $\lambda_{\max}$ is the largest curvature of the bowl.

# %%
rates = {"too small": 0.02 * limit, "right": 0.4 * limit, "too large": 1.03 * limit}
ends = {}
picture, (left, right) = panels(1, 2)
bowl(left, x, *grid)
for (name, learning_rate), colour in zip(rates.items(), COLOURS):
    path = walk(guess, learning_rate, 25)
    heights = [L(theta) for theta in path]
    left.plot(*path[:13].T, ".-", color=colour, lw=1.2)
    right.plot(heights, color=colour, label=f"{name}, η = {learning_rate:.2f}")
    ends[name] = heights[-1]
left.set(xlim=(-1.5, 2.5), ylim=(-0.5, 4.5), title="The first twelve steps")
log_scale(right)
right.set(xlabel="step", ylabel="risk L", title="The risk after each step", ylim=(None, 2000))
right.legend()
picture

# %%
above_least = ", ".join(f"{name} {end - L(walked):.2g}" for name, end in ends.items())
print(f"risk above the least one after 25 steps: {above_least}")
claim("The rate that is too large ends above its start.", ends["too large"] > L(guess))
claim("The right rate ends at less than half the risk of the small one.", ends["right"] < ends["too small"] / 2)

# %% [markdown]
# **What to try.** Use exactly `1.00 * limit` in place of `1.03 * limit`: where does the walk end? Then use
# `0.5 * limit`, which finishes the steepest direction in a single step: why does the whole walk still need more steps?
#
# <details><summary>Answers</summary>
#
# 1. It does not end. In the steepest direction each step lands exactly as high on the other side as it began, and the
#    risk stays where it is, 1.7 above the least one.
#
#    ```text
#    risk above the least one after 25 steps: too small 0.59, right 4e-08, too large 1.7
#    ```
# 2. Because the bowl has a second, flatter direction, for which this rate is too small: there each step goes only a
#    part of the way. After 25 steps nothing is left of it that one could see.
#
#    ```text
#    risk above the least one after 25 steps: too small 0.59, right 4e-08, too large 2.1e-10
#    ```
#
# </details>
#
# ## A few examples at a time: SGD  (F03 · D0 §3.2)
# The gradient over all examples is exact and expensive. The mean over a few examples, drawn anew for each step, costs
# a fraction of it and is right *on average*. This is the "stochastic" (随机) in SGD (stochastic gradient descent).
# The few examples of one step are called a *batch*. The line that makes the step is the same as before.


# %%
batch_size, eta = 4, 0.3


def gradient_of(theta, chosen):
    error = theta[0] + theta[1] * x[chosen] - y[chosen]
    return np.array([2 * error.mean(), 2 * (error * x[chosen]).mean()])


batches = [rng.choice(N, batch_size, replace=False) for _ in range(20_000)]
mean = np.mean([gradient_of(guess, chosen) for chosen in batches], axis=0)
print(f"exact gradient {gradient(guess).round(2)}, mean of {len(batches):,} noisy gradients {mean.round(2)}")
claim("The mean of the noisy gradients is the exact one to ±0.1.", np.abs(mean - gradient(guess)).max() < 0.1)

noisy = [guess]
for chosen in batches[: 10 * N // batch_size]:
    noisy.append(optimizers.sgd_step(noisy[-1], gradient_of(noisy[-1], chosen), eta))
exact, noisy = walk(guess, eta, 10), np.array(noisy)  # both have now seen 400 examples, 10 times 40
ours, theirs = torch.tensor(guess, requires_grad=True), noisy[1]
ours.grad = torch.tensor(gradient_of(guess, batches[0]))
optimizer.SGD([{"params": [ours]}]).step(eta)
agree("one step of minilm/training/optimizer.py", ours, theirs)

# %% [markdown]
# **Predict first.** Both walks look at four hundred examples in all, forty or four at a time. Which one is nearer to
# the goal after the
# first forty, and which one at the end?
#
# <details><summary>Answer</summary>
#
# After forty examples SGD is ahead, because it has made ten steps and the other walk only one. At the end the exact walk is
# nearer: SGD trembles around the goal.
#
# </details>

# %%
picture, (left, right) = panels(1, 2)
bowl(left, x, *grid)
for path, size, name, colour in (
    (exact, N, f"all {N} examples per step", COLOURS[0]),
    (noisy, batch_size, f"{batch_size} per step", COLOURS[1]),
):
    left.plot(*path.T, ".-", color=colour, lw=0.9, ms=4)
    right.plot(np.arange(len(path)) * size, [L(theta) - L(walked) for theta in path], color=colour, label=name)
left.set(xlim=(-1.5, 2.5), ylim=(-0.5, 4.5), title="Two ways to the same place")
log_scale(right)
right.set(xlabel="examples seen", ylabel="risk above the minimum", title="Noise has its price")
right.legend()
picture

# %%
claim("After one pass over the examples SGD is ahead.", L(noisy[N // batch_size]) < L(exact[1]))
late = noisy[-len(noisy) // 2 :]
print(f"in the second half it is on average {np.mean([L(t) for t in late]) - L(walked):.4f} above the least risk")
claim("Later it trembles: its places are worse than their mean.", L(late.mean(axis=0)) < np.mean([L(t) for t in late]))

# %% [markdown]
# After forty examples (as many as in one *epoch*, a full pass over the data), SGD has made ten steps and is ahead.
# Later it trembles around the goal and no longer gets nearer, because the noise of a batch does not shrink and the
# learning rate multiplies it. This is why learning rates fall towards the end of a training run (see below).
#
# **Wrong, then right.** What if the batches are not drawn *at random*? Files are often sorted by their answer, with
# all the bad reviews before all the good ones. Here you see what that does: we take the examples in the order of
# their $y$, four at a time, ten times through. The last batches of each pass decide where the parameters end.

# %%
ends = {}
for name, order in (("sorted", np.argsort(y)), ("shuffled", None)):
    theta, risks = walked, []
    for _ in range(10):
        for chosen in np.array_split(rng.permutation(N) if order is None else order, N // batch_size):
            theta = optimizers.sgd_step(theta, gradient_of(theta, chosen), eta)
        risks.append(L(theta) - L(walked))
    ends[name] = np.mean(risks)
    print(f"{name}: on average {ends[name]:.4f} above the least risk after each pass")
claim("Sorted, the risk stays three times as far above the least.", ends["sorted"] > 3 * ends["shuffled"])

# %% [markdown]
# **What to try.** Set `batch_size` to 1, then to 20. Set the learning rate `eta` to 0.05: it is slower, but how much
# nearer does it get?
#
# <details><summary>Answers</summary>
#
# 1. With one example per step the walk trembles far from the goal, and with twenty it stays close: the noise of a mean
#    of 20 is much smaller. But a pass over the data is then only two steps.
#
#    ```text
#    in the second half it is on average 0.1279 above the least risk
#    in the second half it is on average 0.0040 above the least risk
#    ```
# 2. It gets about as near as with batches of twenty, although it still draws only four: a learning rate six times as
#    small lets the noise of several steps cancel before it moves the parameters far.
#
#    ```text
#    in the second half it is on average 0.0049 above the least risk
#    ```
#
# </details>
#
# ## A narrow valley: momentum, Adam  (F03 · D0 §3.2, §4.1)
# Real risks are not round bowls. Shift $x$ by 2, and the same forty examples make a valley that curves more than eighty
# times as strongly across as along, because a smaller $\theta_0$ can nearly make up for a larger $\theta_1$. The steep
# walls set the limit for $\eta$, while there is hardly any slope along the floor. There are two remedies, and both
# remember earlier gradients:
#
# * **momentum** (动量): $m \leftarrow \mu m + g$, $\theta \leftarrow \theta - \eta m$. Parts of the gradient that
#   keep their sign add up; parts that change their sign cancel.
# * **Adam**: $m \leftarrow \beta_1 m + (1-\beta_1) g$, $v \leftarrow \beta_2 v + (1-\beta_2) g^2$,
#   $\theta \leftarrow \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)$. The step of each parameter is divided by
#   the size of its own gradient; $\hat m = m/(1-\beta_1^t)$ and $\hat v = v/(1-\beta_2^t)$ correct for the start
#   at 0.

# %%
far_x = x + 2
A = 2 * np.array([[1, far_x.mean()], [far_x.mean(), (far_x**2).mean()]])  # the curvature
far_gradient = lambda theta: A @ theta - 2 * np.array([y.mean(), (y * far_x).mean()])  # noqa: E731
(flat, steep), (flat_before, steep_before) = np.linalg.eigvalsh(A), np.linalg.eigvalsh(curvature)
print(f"largest curvature / smallest curvature: {steep / flat:.0f} here, {steep_before / flat_before:.0f} before")
claim("Only the valley here is narrow.", steep / flat > 80 and steep_before / flat_before < 5)

m, v, theta = np.zeros(2), np.zeros(2), np.zeros(2)
for t in range(1, 4):  # Adam, in five lines
    g = far_gradient(theta)
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    theta = theta - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


# %%
def run(step, steps, learning_rate):
    theta, memory, path = np.array([2.0, 2.0]), (np.zeros(2), np.zeros(2)), [np.array([2.0, 2.0])]
    for t in range(1, steps + 1):
        theta, *memory = step(theta, far_gradient(theta), *memory, t, learning_rate)
        path.append(theta)
    return np.array(path)


steps = {
    "gradient descent": (
        lambda th, g, m, v, t, learning_rate: (optimizers.sgd_step(th, g, learning_rate), m, v),
        1.8 / steep,
    ),
    "momentum": (
        lambda th, g, m, v, t, learning_rate: (*optimizers.momentum_step(th, g, m, learning_rate, 0.9), v),
        1.0 / steep,
    ),
    "Adam": (lambda th, g, m, v, t, learning_rate: optimizers.adam_step(th, g, m, v, t, learning_rate), 0.5),
}
paths = {name: run(step, 300, learning_rate) for name, (step, learning_rate) in steps.items()}
check = torch.zeros(2, dtype=torch.float64, requires_grad=True)
adam = optimizer.Adam([{"params": [check]}])
for _ in range(3):
    check.grad = torch.tensor(far_gradient(check.detach().numpy()))
    adam.step(0.1)
by_formula = risk.empirical_risk_gradient(
    np.ones(2), far_x, y, risk.polynomial, risk.polynomial_gradient, risk.squared_error_gradient
)
agree("the gradient", far_gradient(np.ones(2)), by_formula)
agree("three steps of Adam, by hand and by minilm/training/optimizer.py", theta, check)

# %%
goal = np.linalg.solve(A, 2 * np.array([y.mean(), (y * far_x).mean()]))  # where the slope is zero
above = lambda theta: 0.5 * (theta - goal) @ A @ (theta - goal)  # noqa: E731  (L minus its least value)
picture, (left, right) = panels(1, 2)
bowl(left, far_x, np.linspace(-6, 3.5, 60), np.linspace(-2.2, 4, 60), levels=14)
after = {}
for (name, path), colour in zip(paths.items(), COLOURS):
    left.plot(*path[:80].T, ".-", color=colour, lw=1, ms=4)
    right.plot([above(theta) for theta in path], color=colour, label=name)
    after[name] = above(path[150])
left.plot(*goal, "*", color="black", ms=12)
left.set(title="80 steps towards the star")
log_scale(right)
right.set(ylim=(1e-9, 1e3), xlabel="step", ylabel="risk above the minimum", title="The risk that is left")
right.legend()
picture

# %%
plain = after["gradient descent"]
print("risk above the minimum after 150 steps:", ", ".join(f"{name} {left:.1e}" for name, left in after.items()))
claim("After 150 steps momentum is ten times lower than plain descent.", after["momentum"] < plain / 10)
claim("After 150 steps Adam is ten times lower than plain descent.", after["Adam"] < plain / 10)

# %% [markdown]
# After 150 steps, both methods are more than ten times lower than plain gradient descent, although plain descent used
# nearly the largest learning rate that it can bear. (Adam scales each axis separately. A valley that lies diagonally
# to the axes, like this one, is not its best case; its best case is parameters of very different scales.)
#
# **Wrong, then right.** Leave out Adam's two corrections, the hats. Then at the first step $m$ is $0.1\,g$, but
# $\sqrt v$ is $\sqrt{0.001}\,|g|$. So the step is too large by a factor of $0.1/\sqrt{0.001}$: about three times the
# learning rate that you asked for.

# %%
g = far_gradient(np.zeros(2))
without = 0.1 * (0.1 * g) / (np.sqrt(0.001 * g**2) + 1e-8)
with_hats = np.zeros(2) - optimizers.adam_step(np.zeros(2), g, np.zeros(2), np.zeros(2), 1, learning_rate=0.1)[0]
print(
    f"first step at learning rate 0.1: {np.abs(without).round(3)} without the hats, {np.abs(with_hats).round(3)} with them"
)
claim("Without the hats the first step is 3.16 times too long.", np.allclose(np.abs(without), 0.316, atol=1e-3))
claim("With them it has the length of the learning rate.", np.allclose(np.abs(with_hats), 0.1, atol=1e-6))

# %% [markdown]
# **What to try.** Use momentum 0.99: is it faster, or does it swing past the goal? Then try the oldest remedy of all:
# write `far_x = x - x.mean()` and see what is left of the valley.
#
# <details><summary>Answers</summary>
#
# 1. It swings past the goal, again and again: with 0.99 it remembers about a hundred gradients, also those of the other
#    side. After 150 steps it is higher than plain descent.
#
#    ```text
#    risk above the minimum after 150 steps: gradient descent 3.1e-03, momentum 3.0e+00, Adam 1.0e-05
#    ```
# 2. Nothing is left of it: when the mean of $x$ is 0, the two parameters no longer make up for each other. Plain
#    descent now arrives exactly and needs neither memory. This is why inputs are centred before training.
#
#    ```text
#    largest curvature / smallest curvature: 3 here, 3 before
#    risk above the minimum after 150 steps: gradient descent 1.3e-29, momentum 9.9e-09, Adam 5.4e-08
#    ```
#
# </details>
#
# ## Keeping the parameters small: L2, and why AdamW  (F03 · D0 §3.2)
# Large parameters make wild functions. *L2* regularisation (L2正则) adds $\frac{\lambda}{2} \sum \theta^2$ to the
# risk, which adds $\lambda\theta$ to the gradient. For plain gradient descent this is the same as letting every
# parameter *decay*, $\theta \leftarrow \theta - \eta\lambda\theta$. For Adam it is not: $\lambda\theta$ is divided by
# $\sqrt{\hat v}$ together with the rest, so parameters with large gradients hardly decay. **AdamW** takes the decay
# out of the gradient:
#
# $$\theta \leftarrow \theta - \eta\lambda\theta, \qquad\text{then Adam's step}$$
#
# In this experiment, 500 pairs of parameters all begin at 1. Their gradients are pure noise: small for one parameter
# of each pair, large for the other.

# %% [markdown]
# **Predict first.** With AdamW, each of the 200 steps multiplies a parameter by $1 - \eta\lambda = 0.999$. How much
# is left of a parameter
# that begins at 1, and does the size of its gradients matter?
#
# <details><summary>Answer</summary>
#
# About $0.999^{200} \approx 0.82$, for small and for large gradients: the decay does not pass through Adam's division.
#
# </details>

# %%
noise = rng.choice([-1.0, 1.0], size=(200, 2, 500)) * [[0.01], [10.0]]
eta, decay, ends = 0.01, 0.1, {}
for name in ("Adam with L2", "AdamW"):
    theta, m, v = (np.full(noise.shape[1:], start) for start in (1.0, 0.0, 0.0))
    for t, g in enumerate(noise, start=1):
        if name == "AdamW":
            theta = theta - eta * decay * theta
        else:
            g = g + risk.l2_gradient(theta, decay)  # λθ
        theta, m, v = optimizers.adam_step(theta, g, m, v, t, eta)
    ends[name] = theta.mean(axis=1)
    print(f"{name:12}: {ends[name][0]:.2f} with small gradients, {ends[name][1]:.2f} with large gradients")
wanted = (1 - eta * decay) ** len(noise)  # what the decay alone would leave: 0.999²⁰⁰
claim("AdamW shrinks both parameters as asked.", np.allclose(ends["AdamW"], wanted, atol=0.03))
small, large = ends["Adam with L2"]
claim("Adam with L2 crushes the first parameter and spares the second.", small < 0.2 and large > 0.95)

# %% [markdown]
# With L2 inside Adam, the same $\lambda$ crushes the first parameter and spares the second. With AdamW, both shrink
# to $0.999^{200} \approx 0.82$, as we asked. The library's AdamW does the same:

# %%
theta, g = np.array([1.0, -2.0]), np.array([0.3, 0.4])
ours, _, _ = optimizers.adamw_step(theta, g, np.zeros(2), np.zeros(2), 1, learning_rate=0.01, decay=0.1)
library = torch.tensor(theta, requires_grad=True)
library.grad = torch.tensor(g)
optimizer.AdamW([{"params": [library], "weight_decay": 0.1}]).step(0.01)
agree("AdamW", ours, library)

# %% [markdown]
# **Exercise.** `minilm exercise start adamw` puts a file with the function's name and the task into a folder of yours.
# You write the step; `minilm exercise check adamw` runs it and tells you which mistake you made, if any. (In a
# notebook: `%load_ext minilm.exercises.notebook`, then `%exercise adamw`.) Many sections end with an exercise like this
# one.
#
# ## Warm-up and decay of the learning rate  (F03 · D0 §3.2)
# Adam's first step has the size of the learning rate in *every* parameter, whatever the gradient is, because
# $\hat m/\sqrt{\hat v} = g/|g|$. That is a full step in the direction of one noisy batch. A **warm-up** keeps the first
# steps short, and a learning rate that falls to 0 at the end stops the trembling. Let $p$, from 0 to 1, be how much of
# the run is over, and let $w$ be the share of the run that is warm-up:
#
# $$\frac{\eta}{\eta_{\text{peak}}} = \begin{cases} p/w & p < w \\ (1-p)/(1-w) & \text{else} \end{cases}$$
#
# To measure the effect we start where the parameters should stay, at the goal. Each gradient is a weak pull back to the
# goal plus much noise.

# %% [markdown]
# **Predict first.** All runs start exactly at the goal. Where is the run with the constant learning rate after five
# steps, compared with the
# runs that warm up?
#
# <details><summary>Answer</summary>
#
# More than ten times as far away. Its first step is a full step in the direction of pure noise, and the next ones are
# hardly shorter, while the steps of a warm-up are still short.
#
# </details>

# %%
N_steps, walkers, betas = 400, 1000, (0.9, 0.99)
rates = {
    "constant": lambda p: 1.0,
    "warm-up, then constant": lambda p: schedule.constant(p, 0.1),
    "warm-up, then falling": lambda p: optimizers.warmup_linear(p, 0.1),
}
distance = {}
for name, share in rates.items():
    draw = np.random.default_rng(1)  # the same noise for all three
    theta, m, v, distance[name] = np.zeros((walkers, 10)), np.zeros((walkers, 10)), np.zeros((walkers, 10)), []
    for t in range(1, N_steps + 1):
        g = theta + draw.normal(size=theta.shape)
        theta, m, v = optimizers.adam_step(theta, g, m, v, t, 0.1 * share((t - 0.5) / N_steps), betas)
        distance[name].append(np.sqrt((theta**2).sum(axis=1)).mean())
agree("the learning rate", [optimizers.warmup_linear(p, 0.1) for p in (0.05, 0.1, 0.9)], [0.5, 1, 1 / 9])
agree(
    "the learning rate, by minilm/training/schedule.py",
    [schedule.warmup_linear(p, 0.1) for p in (0.05, 0.1, 0.9)],
    [0.5, 1, 1 / 9],
)

# %%
picture, (left, right) = panels(1, 2)
progress = (np.arange(N_steps) + 0.5) / N_steps
for (name, share), colour in zip(rates.items(), COLOURS):
    left.plot([share(p) for p in progress], color=colour, label=name)
    right.plot(distance[name], color=colour)
left.set(title="Learning rate / its peak", xlabel="step", ylim=(0, 1.75))
left.legend(loc="upper right", fontsize=10)
right.set(title="Distance from the goal", xlabel="step", ylim=(0, None))
picture

# %%
first = {name: values[4] for name, values in distance.items()}  # after five steps
last = {name: values[-1] for name, values in distance.items()}
for name, values in distance.items():
    print(
        f"{name:23}: distance {first[name]:.2f} after 5 steps, {max(values):.2f} at most, {last[name]:.2f} at the end"
    )
claim(
    "Without a warm-up, five steps lead ten times as far away.", first["constant"] > 10 * first["warm-up, then falling"]
)
nearer = 2 * last["warm-up, then falling"] < min(last["constant"], last["warm-up, then constant"])
claim("At the end the falling rate is less than half as far away as the others.", nearer)

# %% [markdown]
# After five steps, the run with the constant learning rate is more than ten times as far from the goal as a run with a
# warm-up, and it goes on past the distance at which pull and noise balance. Only the falling learning rate brings the
# parameters back near the goal: at the end, the two others are more than twice as far away.
#
# **What to try.** Use `betas = (0.9, 0.999)`, a longer memory: does the run with the constant learning rate move
# further away? Use a cosine instead of the line in `rates`: `optimizers.warmup_cosine(p, 0.1)`.
#
# <details><summary>Answers</summary>
#
# 1. It still goes about 0.86 away, whatever the second memory: the corrections (the hats) make both look equally long
#    at the start, and there the damage is done.
#
#    ```text
#    constant               : distance 0.73 after 5 steps, 0.86 at most, 0.69 at the end
#    ```
# 2. Hardly anything changes. The cosine stays high a little longer, so that the largest distance is a little larger,
#    and it arrives at the same place as the line: what counts is that the rate falls to 0.
#
#    ```text
#    warm-up, then falling  : distance 0.05 after 5 steps, 0.69 at most, 0.27 at the end
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start schedule`
#
# ## Yes or no  (F04, F05 · D0 §4.2, D4 §4.2.1)
# When the answer is yes (1) or no (0), the model gives a probability $\hat y$, and the loss is the *binary
# cross-entropy* (交叉熵):
#
# $$\ell = -[\,y \log \hat y + (1-y) \log(1-\hat y)\,], \qquad L = -\frac{1}{N} \sum_i [\,y_i \log M(x_i) + (1-y_i)
# \log(1-M(x_i))\,]$$
#
# Only one of the two terms counts for each example: for $y = 1$ the loss is $-\log \hat y$. The more certain a wrong
# answer is, the more it costs, without limit. Such a loss is measured in *nats*, the unit of the natural logarithm:
# whoever says
# 0.5 to everything pays $\log 2 \approx 0.69$ nats per example. The model itself computes a *logit* $z$, which may be any
# number; the sigmoid turns it into the probability $\hat y = 1/(1 + e^{-z})$.

# %%
z = rng.normal(scale=2, size=7)  # logits: any number
answers = rng.integers(2, size=7)
y_hat = 1 / (1 + np.exp(-z))  # the sigmoid: between 0 and 1
ell = -(answers * np.log(y_hat) + (1 - answers) * np.log(1 - y_hat))
agree("F04", ell, bce.loss(y_hat, answers))
agree("F05", ell.mean(), bce.binary_cross_entropy(y_hat, answers))
library = losses.binary_cross_entropy(torch.tensor(z), torch.tensor(answers, dtype=torch.float64))
agree("minilm/training/losses.py, from the logits", ell.mean(), library.value)

# %% [markdown]
# **Wrong, then right.** Why do we not use the squared error, $(\hat y - y)^2$, once more? Look at the slopes on the
# right, for an example whose answer is yes. A model that is sure of no, $z = -8$, has nearly no slope under the squared
# error, so it cannot learn from its worst mistake. Under the cross-entropy the slope there is $-1$, the steepest
# possible.

# %%
z = np.linspace(-8, 8, 161)
answer = 1.0  # yes
y_hat = bce.sigmoid(z)
squared = (y_hat - answer) ** 2
entropy = -(answer * np.log(y_hat) + (1 - answer) * np.log(1 - y_hat))
slopes = {"squared error": 2 * (y_hat - answer) * y_hat * (1 - y_hat), "cross-entropy": y_hat - answer}
picture, (left, right) = panels(1, 2)
for (name, slope), value, colour in zip(slopes.items(), (squared, entropy), COLOURS):
    left.plot(z, value, color=colour, label=name)
    right.plot(z, slope, color=colour)
left.set(
    title=f"Loss when the answer is {answer:g}",
    xlabel="logit z  (sure of no … sure of yes)",
    ylabel="loss (nats for the cross-entropy)",
)
left.legend()
right.set(title="Its slope: how hard it pulls", xlabel="logit z", ylabel="slope")
picture

# %%
claim("At z = −8 the squared error has nearly no slope.", abs(slopes["squared error"][0]) < 0.001)
claim("There the slope of the cross-entropy is −1.", abs(slopes["cross-entropy"][0] + 1) < 0.001)

# %% [markdown]
# **What to try.** Set `answer` to 0.7 instead of 1 and print `y_hat[entropy.argmin()]`: at which $\hat y$ is the
# cross-entropy least? (At $\hat y = 0$ the logarithm has no value. Notebook 02 deals with that.)
#
# <details><summary>Answers</summary>
#
# 1. At $\hat y = 0.7$, up to the spacing of the curve's points: the cross-entropy is least where the model gives the
#    probability that is true. A model that is trained with it therefore learns to say how sure it should be.
#
#    ```text
#    0.6899744811276126
#    ```
#
# </details>
#
# ## Learning by heart  (F03 · D0 §3.2 names L2, Dropout, Early Stopping)
# The aim is not the least risk on the examples that we have, but on new ones. A polynomial $P = \sum_k \theta_k x^k$
# of degree 11 runs exactly through twelve points, and between them it goes wherever it likes. This is *overfitting*
# (过拟合).

# %% [markdown]
# **Predict first.** Degree 11 runs through all twelve points, so its risk on them is 0. How large is its risk on new
# points, compared with
# that of a straight line?
#
# <details><summary>Answer</summary>
#
# More than a thousand times larger. Between the points the curve swings far up and down, and a straight line, which fits
# nothing exactly, also does nothing wild.
#
# </details>

# %%
decay = 1e-3
x_train, x_new = np.sort(rng.uniform(-1, 1, 12)), np.linspace(-0.95, 0.95, 200)
n = len(x_train)
y_train, y_new = np.sin(3 * x_train) + rng.normal(scale=0.25, size=n), np.sin(3 * x_new)


def fitted(degree, decay=0.0):
    """The θ at which the gradient of risk + λ/2 Σθ² is zero: (2XᵀX/N + λ) θ = 2Xᵀy/N."""
    X = x_train[:, None] ** np.arange(degree + 1)
    return np.linalg.lstsq(2 * X.T @ X / n + decay * np.eye(degree + 1), 2 * X.T @ y_train / n)[0]


def risk_at(theta, x, y):
    return risk.empirical_risk(theta, x, y, risk.polynomial, risk.squared_error)


smooth = fitted(11, decay)
slope = risk.empirical_risk_gradient(
    smooth, x_train, y_train, risk.polynomial, risk.polynomial_gradient, risk.squared_error_gradient
)
agree("at the minimum, the gradient of the data is minus the gradient of L2", slope, -risk.l2_gradient(smooth, decay))
models = {"degree 1": fitted(1), "degree 11": fitted(11), "degree 11 with L2": smooth}
for name, theta in models.items():
    at = risk_at(theta, x_train, y_train), risk_at(theta, x_new, y_new)
    print(f"{name:18}: risk {at[0]:.4f} on the examples, {at[1]:8.3f} on new points")

# %% [markdown]
# Degree 1 cannot bend (*underfitting*, 欠拟合). Degree 11 without L2 has learnt the noise. Degree 11 with a little L2
# is the best of the three on new points, although it is worse on the old ones than degree 11 without L2. Early stopping
# reaches the same goal by other means: watch the risk on examples that are held out, and when `patience` evaluations in
# a row have brought no new best, go back to the best one.

# %%
basis = np.polynomial.legendre.legvander  # the same polynomials in a basis that suits gradient descent
X, X_new = basis(x_train, 11), basis(x_new, 11)
slope = lambda theta: 2 * X.T @ (X @ theta - y_train) / n  # noqa: E731
learning_rate = 0.5 * risk.largest_safe_rate(2 * X.T @ X / n)
path = risk.gradient_descent(slope, np.zeros(12), learning_rate, steps=3000)[5::5]  # evaluated after every fifth step
on_examples = ((path @ X.T - y_train) ** 2).mean(axis=1)
on_new = ((path @ X_new.T - y_new) ** 2).mean(axis=1)
best, last = risk.early_stopping(on_new, patience=10)
print(f"kept: step {5 * best + 5}, risk {on_new[best]:.3f} on new points; stopped at step {5 * last + 5}")
print(f"after all {5 * len(on_new)} steps: {on_new[-1]:.3f}")

# %%
picture, (left, right) = panels(1, 2)
left.plot(x_train, y_train, "o", color="black", ms=5)
for (name, theta), colour in zip(models.items(), COLOURS):
    left.plot(x_new, risk.polynomial(x_new, theta), color=colour, label=name)
left.set(ylim=(-2, 3), title=f"{n} points, three fits", xlabel="x", ylabel="y")
left.legend(loc="lower right", fontsize=10)
for curve, name, colour in ((on_examples, "on the examples", COLOURS[0]), (on_new, "on new points", COLOURS[1])):
    right.semilogx(np.arange(1, len(curve) + 1) * 5, curve, color=colour, label=name)
right.axvline(5 * best + 5, ymax=0.55, color="black", ls=":", lw=1.2, label="kept")
right.axvline(5 * last + 5, ymax=0.55, color="#888888", ls=":", lw=1.2, label="stopped")
right.xaxis.set_major_formatter("{x:g}")
right.set(title="Degree 11, by gradient descent", xlabel="step", ylabel="risk", ylim=(None, 1.8))
right.legend(fontsize=10)
picture

# %%
old, new = (risk_at(models["degree 11"], *points) for points in ((x_train, y_train), (x_new, y_new)))
claim("Degree 11 has learnt the examples by heart and fails on new points.", old < 1e-3 < 1 < new)
straight = risk_at(models["degree 1"], x_new, y_new)
claim("With L2 it has less than half the risk of a straight line.", risk_at(smooth, x_new, y_new) < straight / 2)
claim("Early stopping has kept the best step of the whole run.", best == np.argmin(on_new))
claim("The risk on the examples falls at every step.", (np.diff(on_examples) < 0).all())
claim("At the end the risk on new points is five times the risk of the step kept.", on_new[-1] > 5 * on_new[best])

# %% [markdown]
# **Wrong, then right.** It is tempting to stop at the least risk on the *examples*. But that point is always the end
# of the run, because the blue curve never turns. Only points that took no part in the search can tell you when to
# stop. Afterwards these points are used up: do not report on them how good the model is, but keep a third set for
# that.
#
# **What to try.** Let `decay` be $10^{-6}$, $10^{-5}$ and so on up to 10: which value is best? Use twice as many points,
# `rng.uniform(-1, 1, 24)`: what is left of the overfitting? Use patience 1: does it stop too early?
#
# <details><summary>Answers</summary>
#
# 1. About $10^{-3}$: the risk on new points falls from 4.8 to 0.052 and rises again to 0.51. With too little decay the
#    curve follows the noise, and with too much it becomes flat.
#
#    ```text
#    1e-06 4.806043112917332
#    0.001 0.05187238601078312
#    10.0 0.5092808280100932
#    ```
# 2. Little. With 24 points, degree 11 without L2 has a risk of 0.13 on new points, where it was 2609.8; with L2 it is
#    0.023. More data is the best remedy against overfitting, and L2 still helps.
#
#    ```text
#    degree 11         : risk 0.0219 on the examples,    0.132 on new points
#    degree 11 with L2 : risk 0.0323 on the examples,    0.023 on new points
#    ```
# 3. No, here it is enough: the curve has only one lowest point, and it keeps the same step 40 and saves 45 steps. A
#    noisy curve rises now and then by chance, and there patience 1 would stop too early.
#
#    ```text
#    kept: step 40, risk 0.065 on new points; stopped at step 45
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start early_stopping`

# %% [markdown]
# ## In five lines
#
# 1. A model learns by making one number smaller: the mean loss over the examples, its risk.
# 2. Each step goes against the gradient, and the learning rate says how far; above $2/\lambda_{\max}$ the risk grows.
# 3. SGD takes the gradient of a few examples: cheap and right on average; at the end its noise needs a smaller learning rate.
# 4. Momentum and Adam remember earlier gradients; AdamW lets every parameter decay alike; a warm-up keeps Adam's
# first steps short.
# 5. The risk on the training examples always falls. Only examples that took no part say when to stop, and L2 keeps
# curves smooth.
#
# **Where to read on.**
#
# * Robbins and Monro, 1951, *A stochastic approximation method*: why noisy steps arrive
# * Kingma and Ba, 2015, *Adam: a method for stochastic optimization* (arXiv:1412.6980)
# * Loshchilov and Hutter, 2019, *Decoupled weight decay regularization* (arXiv:1711.05101): AdamW
# * Goh, 2017, *Why momentum really works*: a page with pictures that you can move
# * Prechelt, 1998, *Early stopping – but when?*
#
# **Exercises.** The minutes are estimates.
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `adamw` | 30 | medium |
# | `schedule` | 20 | easy |
# | `early_stopping` | 25 | medium |
