# %% [markdown]
# # 01 · Learning from data
# What it means that a model *learns*: a number that says how wrong it is, and a walk downhill. Afterwards you can
# read "fine-tuned with AdamW, warm-up and weight decay" and know what each word does. It needs Python and school
# calculus, and runs in well under a minute.

# %%
import numpy as np
import torch

from minilm.formulas import binary_cross_entropy as bce, optimizers, risk
from minilm.plots import COLOURS
from minilm.teaching import agree, panels
from minilm.training import losses, optimizer, schedule

rng = np.random.default_rng(0)

# %% [markdown]
# ## How wrong is a model?  (F01 · D0 §4.1)
# The document calls it the *empirical risk* (经验风险): the mean, over $N$ examples, of what each answer of the model
# costs.
#
# $$L(\theta) = \frac{1}{N} \sum_{i=1}^{N} \ell\big(y_i, P(y \mid x_i; \theta)\big)$$
#
# $x_i$ is an input, $y_i$ the right answer, $\theta$ [n] the $n$ numbers that may be changed, $\ell$ the loss of one
# example. Here the model is a straight line, $P = \theta_0 + \theta_1 x$, and the loss is the squared error, $(P -
# y)^2$. Two parameters, so that we can *see* $L$.

# %%
N = 40
x = rng.uniform(-1, 1, N)
y = 0.5 + 2 * x + rng.normal(scale=0.4, size=N)  # the truth, which the model is not told, and noise


def L(theta):
    total = 0.0
    for i in range(N):
        p = theta[0] + theta[1] * x[i]  # what the model says
        total += (p - y[i]) ** 2  # what that costs
    return total / N


guess = np.array([-0.5, 0.5])
agree("risk of a guess", L(guess), risk.empirical_risk(guess, x, y, risk.polynomial, risk.squared_error))

# %% [markdown]
# Every $\theta$ is a line on the left and a point on the right. The rings join points of equal risk: a bowl, seen
# from above.


# %%
def bowl(axis, x, a, b, levels=12):
    heights = ((a[:, None, None] + b[:, None] * x - y) ** 2).mean(axis=-1).T
    axis.contour(a, b, heights, levels=np.geomspace(heights.min() * 1.2, heights.max(), levels), colors="#C0C8D0")
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
left.set(title="three lines …", xlabel="x", ylabel="y")
left.legend()
right.set_title("… and where they lie on the risk")
picture

# %% [markdown]
# **Wrong, then right.** The sum instead of the mean looks harmless: the lowest point stays where it is. But the slope
# grows with the number of examples, and so does every step that we shall take: a rate that suits forty examples is
# out of proportion for four thousand. With the mean, one rate serves any number.

# %%
twice = np.tile(x, 2), np.tile(y, 2)  # the same examples, each of them two times
sums = [sum((guess[0] + guess[1] * xi - yi) ** 2 for xi, yi in zip(*data)) for data in ((x, y), twice)]
means = [risk.empirical_risk(guess, *data, risk.polynomial, risk.squared_error) for data in ((x, y), twice)]
print(f"sum: {sums[0]:.1f}, then {sums[1]:.1f}.  mean: {means[0]:.3f}, then {means[1]:.3f}")
assert np.isclose(sums[1], 2 * sums[0]) and np.isclose(means[1], means[0])

# %% [markdown]
# **What to try.** Put the absolute error, `abs(p - y)`, in the place of the square: what happens to the rings? Add
# one wild example, `y[0] = 10`: which of the two losses minds more?
#
# ## Looking for the lowest point  (F02 · D0 §4.1, D4 §4.1.1)
# To learn is to look for the parameters of least risk:
#
# $$\theta^* = \arg\min_\theta L(\theta)$$
#
# One could look everywhere. For two parameters a grid of $100 \times 100$ will do; for the million of a small
# Transformer it would take $100^{1000000}$ looks. So nobody looks everywhere, and everybody walks: from where one
# stands, downhill.


# %%
def gradient(theta):
    error = theta[0] + theta[1] * x - y  # [N]
    return np.array([2 * error.mean(), 2 * (error * x).mean()])


by_hand = risk.empirical_risk_gradient(
    guess, x, y, risk.polynomial, risk.polynomial_gradient, risk.squared_error_gradient
)
agree("the slope of L, two ways", gradient(guess), by_hand)

fine = np.stack(np.meshgrid(np.linspace(0, 1, 101), np.linspace(1.5, 2.5, 101)), axis=-1).reshape(-1, 2)
everywhere = risk.argmin(lambda t: ((t[0] + t[1] * x - y) ** 2).mean(), fine)
walked = risk.gradient_descent(gradient, np.zeros(2), rate=0.3, steps=100)[-1]
print(f"{len(fine):,} looks: {everywhere.round(2)}    100 steps: {walked.round(2)}")
assert np.abs(everywhere - walked).max() < 0.011  # as near as the grid is fine

# %% [markdown]
# The document adds a sentence that all of this project hangs on: in *fine-tuning* (微调) the same search starts from
# parameters that pretraining has left, not from random ones. Nothing in the formula changes. Only the start does:

# %%
starts = {"far away": walked + 2.0, "close by": walked + 0.02}
for name, start in starts.items():
    path = risk.gradient_descent(gradient, start, rate=0.3, steps=100)
    steps = int(np.argmax(np.abs(path - walked).max(axis=1) < 0.01))
    print(f"from {name}: {steps} steps until both numbers are right to 0.01")
    starts[name] = steps
assert starts["close by"] * 3 < starts["far away"]

# %% [markdown]
# ## One step  (F03 · D0 §4.1, D4 §4.1.2)
# The gradient $\nabla_\theta L$ [n] points up the steepest way, and so one goes the other way, as far as the
# *learning rate* $\eta$ (学习率) says:
#
# $$\theta \leftarrow \theta - \eta \, \nabla_\theta L(\theta)$$


# %%
def walk(theta, rate, steps):
    path = [theta]
    for _ in range(steps):
        path.append(path[-1] - rate * gradient(path[-1]))
    return np.array(path)


agree("a walk", walk(guess, 0.3, 20), risk.gradient_descent(gradient, guess, 0.3, 20))

curvature = np.array([[2, 2 * x.mean()], [2 * x.mean(), 2 * (x**2).mean()]])  # ∂²L/∂θ²: how the slope changes
limit = risk.largest_safe_rate(curvature)
print(f"the largest rate that does not climb: {limit:.2f}")

# %% [markdown]
# **Wrong, then right.** A rate that is too large does not just learn badly, it climbs: each step leaps across the
# valley and lands higher on the other side. Where that begins can be computed: at $2/\lambda_{\max}$, with
# $\lambda_{\max}$ the largest curvature of the bowl.

# %%
rates = {"too small": 0.02 * limit, "right": 0.4 * limit, "too large": 1.03 * limit}
picture, (left, right) = panels(1, 2)
bowl(left, x, *grid)
for (name, rate), colour in zip(rates.items(), COLOURS):
    path = walk(guess, rate, 25)
    heights = [L(theta) for theta in path]
    left.plot(*path[:13].T, ".-", color=colour, lw=1.2)
    right.plot(heights, color=colour, label=f"{name}, η = {rate:.2f}")
    rates[name] = heights[-1]
left.set(xlim=(-1.5, 2.5), ylim=(-0.5, 4.5), title="the first twelve steps")
log_scale(right)
right.set(xlabel="step", ylabel="risk L", title="the risk on the way")
right.legend()
assert rates["too large"] > L(guess) > rates["too small"] > 2 * rates["right"]
picture

# %% [markdown]
# **What to try.** `1.00 * limit`, exactly: where does the walk end? And `0.5 * limit`, at which the steepest
# direction is done in a single step: why is the walk as a whole not?
#
# ## A few examples at a time: SGD  (F03 · D0 §3.2)
# The gradient over all examples is exact and dear. The mean over a few, drawn anew for each step, costs a fraction
# and is right *on average*. That is the "stochastic" (随机) in SGD; the step is the same line as before.


# %%
def gradient_of(theta, chosen):
    error = theta[0] + theta[1] * x[chosen] - y[chosen]
    return np.array([2 * error.mean(), 2 * (error * x[chosen]).mean()])


batches = [rng.choice(N, 4, replace=False) for _ in range(20_000)]
mean = np.mean([gradient_of(guess, chosen) for chosen in batches], axis=0)
print(f"the exact slope {gradient(guess).round(2)}, the mean of {len(batches):,} noisy ones {mean.round(2)}")
assert np.abs(mean - gradient(guess)).max() < 0.1

noisy = [guess]
for chosen in batches[:100]:
    noisy.append(optimizers.sgd_step(noisy[-1], gradient_of(noisy[-1], chosen), rate=0.3))
exact, noisy = walk(guess, 0.3, 10), np.array(noisy)  # both have now looked at 400 examples, or 10 times at all 40
ours, theirs = torch.tensor(guess, requires_grad=True), noisy[1]
ours.grad = torch.tensor(gradient_of(guess, batches[0]))
optimizer.SGD([{"params": [ours]}]).step(0.3)
agree("one step of minilm/training/optimizer.py", ours, theirs)

# %%
picture, (left, right) = panels(1, 2)
bowl(left, x, *grid)
for path, size, name, colour in ((exact, N, "all 40 examples a step", COLOURS[0]), (noisy, 4, "4 a step", COLOURS[1])):
    left.plot(*path.T, ".-", color=colour, lw=0.9, ms=4)
    right.plot(np.arange(len(path)) * size, [L(theta) - L(walked) for theta in path], color=colour, label=name)
left.set(xlim=(-1.5, 2.5), ylim=(-0.5, 4.5), title="two ways to the same place")
log_scale(right)
right.set(xlabel="examples looked at", ylabel="risk above the least", title="noise has its price …")
right.legend()
assert L(noisy[10]) < L(exact[1])  # after 40 examples SGD is ahead,
assert L(noisy[-50:].mean(axis=0)) < np.mean([L(theta) for theta in noisy[-50:]])  # and later on it trembles
picture

# %% [markdown]
# After forty examples, one look at the data, SGD has made ten steps and is ahead. Later it trembles about the goal,
# and no longer gets nearer: the noise of a batch does not shrink, and the rate multiplies it. Hence the rates that
# fall towards the end (below).
#
# **Wrong, then right.** Batches that are not *drawn*. Files often come sorted by their answer, all the bad reviews before all
# the good ones. Here is what that does: the examples in the order of their $y$, four by four, ten times through. The last
# batches of each round have the last word.

# %%
ends = {}
for name, order in (("sorted", np.argsort(y)), ("shuffled", None)):
    theta, risks = walked, []
    for _ in range(10):
        for chosen in np.split(rng.permutation(N) if order is None else order, 10):
            theta = optimizers.sgd_step(theta, gradient_of(theta, chosen), rate=0.3)
        risks.append(L(theta) - L(walked))
    ends[name] = np.mean(risks)
    print(f"{name}: on average {ends[name]:.4f} above the least risk after a round")
assert ends["sorted"] > 3 * ends["shuffled"]

# %% [markdown]
# **What to try.** Batches of one. Of twenty. A rate of 0.05: slower, and how much nearer?
#
# ## A narrow valley: momentum, Adam  (F03 · D0 §3.2, §4.1)
# Real risks are no round bowls. Shift $x$ by 2 and the same forty examples make a valley that is eighty times as
# steep across as along, since a larger $\theta_1$ can nearly be made up for by a smaller $\theta_0$. Its steep walls
# set the limit for $\eta$, and along its floor there is hardly any slope. Two remedies, both with a memory:
#
# * **momentum** (动量): $m \leftarrow \mu m + g$, $\theta \leftarrow \theta - \eta m$. What points the same way adds
#   up, what changes its sign cancels.
# * **Adam**: $m \leftarrow \beta_1 m + (1-\beta_1) g$, $v \leftarrow \beta_2 v + (1-\beta_2) g^2$, $\theta \leftarrow
#   \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)$. Each parameter's step is divided by the size of its own
#   gradient; $\hat m = m/(1-\beta_1^t)$ and $\hat v = v/(1-\beta_2^t)$ undo the start at 0.

# %%
far_x = x + 2
A = 2 * np.array([[1, far_x.mean()], [far_x.mean(), (far_x**2).mean()]])  # the curvature
far_gradient = lambda theta: A @ theta - 2 * np.array([y.mean(), (y * far_x).mean()])  # noqa: E731
(flat, steep), (flat_before, steep_before) = np.linalg.eigvalsh(A), np.linalg.eigvalsh(curvature)
print(f"steepest over flattest: {steep / flat:.0f} here, {steep_before / flat_before:.0f} before")
assert steep / flat > 80 and steep_before / flat_before < 5

m, v, theta = np.zeros(2), np.zeros(2), np.zeros(2)
for t in range(1, 4):  # Adam, in five lines
    g = far_gradient(theta)
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    theta = theta - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


# %%
def run(step, steps, rate):
    theta, memory, path = np.array([2.0, 2.0]), (np.zeros(2), np.zeros(2)), [np.array([2.0, 2.0])]
    for t in range(1, steps + 1):
        theta, *memory = step(theta, far_gradient(theta), *memory, t, rate)
        path.append(theta)
    return np.array(path)


steps = {
    "gradient descent": (lambda th, g, m, v, t, rate: (optimizers.sgd_step(th, g, rate), m, v), 1.8 / steep),
    "momentum 0.9": (lambda th, g, m, v, t, rate: (*optimizers.momentum_step(th, g, m, rate, 0.9), v), 1.0 / steep),
    "Adam": (lambda th, g, m, v, t, rate: optimizers.adam_step(th, g, m, v, t, rate), 0.5),
}
paths = {name: run(step, 300, rate) for name, (step, rate) in steps.items()}
check = torch.zeros(2, dtype=torch.float64, requires_grad=True)
adam = optimizer.Adam([{"params": [check]}])
for _ in range(3):
    check.grad = torch.tensor(far_gradient(check.detach().numpy()))
    adam.step(0.1)
by_formula = risk.empirical_risk_gradient(
    np.ones(2), far_x, y, risk.polynomial, risk.polynomial_gradient, risk.squared_error_gradient
)
agree("the slope", far_gradient(np.ones(2)), by_formula)
agree("three steps of Adam, by hand and by minilm/training/optimizer.py", theta, check)

# %%
goal = np.linalg.solve(A, 2 * np.array([y.mean(), (y * far_x).mean()]))  # where the slope is zero
above = lambda theta: 0.5 * (theta - goal) @ A @ (theta - goal)  # noqa: E731  (L less its least value)
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
right.set(ylim=(1e-9, 1e3), xlabel="step", ylabel="risk above the least", title="how far there is to go")
right.legend()
assert after["momentum 0.9"] < after["gradient descent"] / 10 and after["Adam"] < after["gradient descent"] / 10
picture

# %% [markdown]
# After 150 steps both have come more than ten times as low as plain descent, though that had nearly the largest rate
# it can bear. (Adam measures each axis for itself. A valley that lies askew to the axes, like this one, is not its
# best case; parameters of very different scales are.)
#
# **Wrong, then right.** Leave out the hats of Adam. Then $m$ is a tenth of $g$ at the first step, but $\sqrt v$ is
# $\sqrt{0.001}$ of it: the step is too large by $0.1/\sqrt{0.001}$, three times the rate that one has asked for.

# %%
g = far_gradient(np.zeros(2))
without = 0.1 * (0.1 * g) / (np.sqrt(0.001 * g**2) + 1e-8)
with_hats = np.zeros(2) - optimizers.adam_step(np.zeros(2), g, np.zeros(2), np.zeros(2), 1, rate=0.1)[0]
print(
    f"first step at a rate of 0.1: {np.abs(without).round(3)} without the hats, {np.abs(with_hats).round(3)} with them"
)
assert np.allclose(np.abs(without), 0.316, atol=1e-3) and np.allclose(np.abs(with_hats), 0.1, atol=1e-6)

# %% [markdown]
# **What to try.** Momentum 0.99: faster, or does it swing past? And the oldest remedy of all: subtract its mean from
# `far_x` and see what is left of the valley.
#
# ## Keeping the parameters small: L2, and why AdamW  (F03 · D0 §3.2)
# Large parameters make wild functions. *L2* (L2正则) adds $\frac{\lambda}{2} \sum \theta^2$ to the risk, that is
# $\lambda\theta$ to the gradient. For plain descent that is the same as letting every parameter *decay*, $\theta
# \leftarrow \theta - \eta\lambda\theta$. For Adam it is not: $\lambda\theta$ is divided by $\sqrt{\hat v}$ with the
# rest, so that parameters with large gradients hardly decay. **AdamW** takes the decay out of the gradient:
#
# $$\theta \leftarrow \theta - \eta\lambda\theta, \qquad\text{then Adam's step}$$
#
# Here are 500 pairs of parameters that all begin at 1. Their gradients are nothing but noise: small for one of the
# pair, large for the other.

# %%
noise = rng.choice([-1.0, 1.0], size=(200, 2, 500)) * [[0.01], [10.0]]
eta, decay, ends = 0.01, 0.1, {}
for name in ("Adam with L2", "AdamW"):
    theta, m, v = np.ones((2, 500)), np.zeros((2, 500)), np.zeros((2, 500))
    for t, g in enumerate(noise, start=1):
        if name == "AdamW":
            theta = theta - eta * decay * theta
        else:
            g = g + risk.l2_gradient(theta, decay)  # λθ
        theta, m, v = optimizers.adam_step(theta, g, m, v, t, eta)
    ends[name] = theta.mean(axis=1)
    print(f"{name:12}: {ends[name][0]:.2f} where gradients are small, {ends[name][1]:.2f} where they are large")
assert abs(ends["AdamW"][0] - ends["AdamW"][1]) < 0.05 and np.allclose(ends["AdamW"], 0.999**200, atol=0.03)
assert ends["Adam with L2"][0] < 0.2 and ends["Adam with L2"][1] > 0.95

# %% [markdown]
# With L2 inside Adam the same $\lambda$ crushes the first and spares the second. With AdamW both shrink to
# $0.999^{200} \approx 0.82$, as was asked for. The library's own is the same:

# %%
theta, g = np.array([1.0, -2.0]), np.array([0.3, 0.4])
ours, _, _ = optimizers.adamw_step(theta, g, np.zeros(2), np.zeros(2), 1, rate=0.01, decay=0.1)
library = torch.tensor(theta, requires_grad=True)
library.grad = torch.tensor(g)
optimizer.AdamW([{"params": [library], "weight_decay": 0.1}]).step(0.01)
agree("AdamW", ours, library)

# %% [markdown]
# **Exercise.** `minilm exercise start adamw` puts a file with the name and the task into a folder of yours; you write
# the step, `minilm exercise check adamw` runs it and says which mistake it is. (In a notebook: `%load_ext
# minilm.exercises.notebook`, then `%exercise adamw`.) Most sections have such a piece to write; their ends name it.
#
# ## Warm-up and decay of the rate  (F03 · D0 §3.2)
# Adam's first step is as long as the rate in *every* parameter, whatever the gradient: $\hat m/\sqrt{\hat v} =
# g/|g|$. That is a full stride in the direction of one noisy batch. A **warm-up** keeps the first strides short; a
# rate that falls to 0 at the end ends the trembling. With $p$ from 0 to 1 for how much of the run is over, and $w$
# for the part that warms up:
#
# $$\frac{\eta}{\eta_{\text{peak}}} = \begin{cases} p/w & p < w \\ (1-p)/(1-w) & \text{else} \end{cases}$$
#
# To measure it we start where one should stay: at the goal, with gradients that are a weak pull back and much noise.

# %%
N_steps, walkers = 400, 1000
rates = {
    "constant": lambda p: 1.0,
    "warm-up, then constant": lambda p: schedule.constant(p, 0.1),
    "warm-up, then linear": lambda p: optimizers.warmup_linear(p, 0.1),
}
distance = {}
for name, share in rates.items():
    draw = np.random.default_rng(1)  # the same noise for all three
    theta, m, v, distance[name] = np.zeros((walkers, 10)), np.zeros((walkers, 10)), np.zeros((walkers, 10)), []
    for t in range(1, N_steps + 1):
        g = theta + draw.normal(size=theta.shape)
        theta, m, v = optimizers.adam_step(theta, g, m, v, t, 0.1 * share((t - 0.5) / N_steps), (0.9, 0.99))
        distance[name].append(np.sqrt((theta**2).sum(axis=1)).mean())
agree("the rate", [optimizers.warmup_linear(p, 0.1) for p in (0.05, 0.1, 0.9)], [0.5, 1, 1 / 9])
agree(
    "the rate, by minilm/training/schedule.py",
    [schedule.warmup_linear(p, 0.1) for p in (0.05, 0.1, 0.9)],
    [0.5, 1, 1 / 9],
)

# %%
picture, (left, right) = panels(1, 2)
progress = (np.arange(N_steps) + 0.5) / N_steps
for (name, share), colour in zip(rates.items(), COLOURS):
    left.plot([share(p) for p in progress], color=colour, label=name)
    right.plot(distance[name], color=colour)
left.set(title="the rate, as a share of its peak", xlabel="step", ylim=(0, 1.75))
left.legend(loc="upper right", fontsize=10)
right.set(title="distance from the goal", xlabel="step", ylim=(0, None))
first = {name: values[4] for name, values in distance.items()}  # after five steps
last = {name: values[-1] for name, values in distance.items()}
assert first["constant"] > 10 * first["warm-up, then linear"]
assert min(last["constant"], last["warm-up, then constant"]) > 2 * last["warm-up, then linear"]
picture

# %% [markdown]
# After five steps the constant rate has strayed more than ten times as far as the warmed-up one, and it goes on beyond the
# distance at which pull and noise are even. And only a falling rate comes home: at the end the two others are more than
# twice as far away.
#
# **What to try.** `betas = (0.9, 0.999)` for a longer memory: does the constant rate stray further? A cosine instead
# of the line: `optimizers.warmup_cosine`.
#
# **Exercise.** `minilm exercise start schedule`
#
# ## Yes or no  (F04, F05 · D0 §4.2, D4 §4.2.1)
# When the answer is yes (1) or no (0), the model gives a probability $\hat y$, and the loss is the *binary
# cross-entropy* (交叉熵):
#
# $$\ell = -[\,y \log \hat y + (1-y) \log(1-\hat y)\,], \qquad L = -\frac{1}{N} \sum_i [\,y_i \log M(x_i) + (1-y_i) \log(1-M(x_i))\,]$$
#
# Only one half of it ever counts: for $y = 1$ it is $-\log \hat y$. Being sure and wrong costs without limit.

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
# **Wrong, then right.** Why not the squared error once more, $(\hat y - y)^2$? Look at the slopes on the right. The
# answer is yes. A model that is sure of no, $z = -8$, has nearly no slope under the squared error: the worst mistake
# is the one that it cannot learn from. Under the cross-entropy the slope there is $-1$, the largest there is.

# %%
z = np.linspace(-8, 8, 161)
y_hat = bce.sigmoid(z)
squared, entropy = (y_hat - 1) ** 2, -np.log(y_hat)
slopes = {"squared error": 2 * (y_hat - 1) * y_hat * (1 - y_hat), "cross-entropy": y_hat - 1}
picture, (left, right) = panels(1, 2)
for (name, slope), value, colour in zip(slopes.items(), (squared, entropy), COLOURS):
    left.plot(z, value, color=colour, label=name)
    right.plot(z, slope, color=colour)
left.set(title="loss when the answer is yes", xlabel="logit z  (sure of no … sure of yes)", ylabel="loss")
left.legend()
right.set(title="its slope: how hard it pulls", xlabel="logit z", ylabel="slope")
assert abs(slopes["squared error"][0]) < 0.001 and slopes["cross-entropy"][0] < -0.999
picture

# %% [markdown]
# **What to try.** $y = 0.7$ instead of 1: at which $\hat y$ is the cross-entropy least? (What happens at $\hat y =
# 0$, where the logarithm has no value, is the business of notebook 02.)
#
# ## Learning by heart  (F03 · D0 §3.2 names L2, Dropout, Early Stopping)
# The least risk on the examples is not the aim. New examples are. A polynomial $P = \sum_k \theta_k x^k$ of degree 11
# runs through twelve points exactly, and between them wherever it likes: *overfitting* (过拟合).

# %%
x_train, x_new = np.sort(rng.uniform(-1, 1, 12)), np.linspace(-0.95, 0.95, 200)
y_train, y_new = np.sin(3 * x_train) + rng.normal(scale=0.25, size=12), np.sin(3 * x_new)


def fitted(degree, decay=0.0):
    """Where the gradient of risk + λ/2 Σθ² is zero: (2XᵀX/N + λ) θ = 2Xᵀy/N."""
    X = x_train[:, None] ** np.arange(degree + 1)
    return np.linalg.solve(2 * X.T @ X / 12 + decay * np.eye(degree + 1), 2 * X.T @ y_train / 12)


def risk_at(theta, x, y):
    return risk.empirical_risk(theta, x, y, risk.polynomial, risk.squared_error)


smooth = fitted(11, decay=1e-3)
slope = risk.empirical_risk_gradient(
    smooth, x_train, y_train, risk.polynomial, risk.polynomial_gradient, risk.squared_error_gradient
)
agree("at the minimum the pull of the data is that of L2, reversed", slope, -risk.l2_gradient(smooth, 1e-3))
models = {"degree 1": fitted(1), "degree 11": fitted(11), "degree 11 with L2": smooth}
for name, theta in models.items():
    at = risk_at(theta, x_train, y_train), risk_at(theta, x_new, y_new)
    print(f"{name:18}: risk {at[0]:.4f} on the examples, {at[1]:8.3f} on new ones")
assert risk_at(models["degree 11"], x_train, y_train) < 1e-3 < 1 < risk_at(models["degree 11"], x_new, y_new)
assert risk_at(smooth, x_new, y_new) < risk_at(models["degree 1"], x_new, y_new) / 2

# %% [markdown]
# Degree 1 cannot bend (*underfitting*, 欠拟合). Degree 11 has learnt the noise. Degree 11 with a little L2 is the best
# of the three on new points, though it is worse on the old ones than without. Early stopping does the same by other
# means: watch the risk on examples that are held out, and when `patience` evaluations in a row brought no new best,
# go back to the best.

# %%
X = np.polynomial.legendre.legvander(np.r_[x_train, x_new], 11)  # the same polynomials, in terms that suit a search
slope = lambda theta: 2 * X[:12].T @ (X[:12] @ theta - y_train) / 12  # noqa: E731
rate = 0.5 * risk.largest_safe_rate(2 * X[:12].T @ X[:12] / 12)
path = risk.gradient_descent(slope, np.zeros(12), rate, steps=3000)[5::5]  # looked at after every fifth step
on_examples = ((path @ X[:12].T - y_train) ** 2).mean(axis=1)
on_new = ((path @ X[12:].T - y_new) ** 2).mean(axis=1)
best, last = risk.early_stopping(on_new, patience=10)
print(f"kept: step {5 * best + 5}, risk {on_new[best]:.3f} on new points; stopped at step {5 * last + 5}")
print(f"after all 3000 steps: {on_new[-1]:.3f}")
assert best == np.argmin(on_new) and (np.diff(on_examples) < 0).all() and on_new[-1] > 5 * on_new[best]

# %%
picture, (left, right) = panels(1, 2)
left.plot(x_train, y_train, "o", color="black", ms=5)
for (name, theta), colour in zip(models.items(), COLOURS):
    left.plot(x_new, risk.polynomial(x_new, theta), color=colour, label=name)
left.set(ylim=(-2, 3), title="twelve points, three fits", xlabel="x", ylabel="y")
left.legend(loc="upper left", fontsize=10)
for curve, name, colour in ((on_examples, "on the examples", COLOURS[0]), (on_new, "on new points", COLOURS[1])):
    right.semilogx(np.arange(1, len(curve) + 1) * 5, curve, color=colour, label=name)
right.axvline(5 * best + 5, color="black", ls=":", lw=1.2, label="kept")
right.axvline(5 * last + 5, color="#888888", ls=":", lw=1.2, label="stopped")
right.xaxis.set_major_formatter("{x:g}")
right.set(title="degree 11, by gradient descent", xlabel="step", ylabel="risk")
right.legend(fontsize=10)
picture

# %% [markdown]
# **Wrong, then right.** It is tempting to stop at the least risk on the *examples*. That point is the end of the run,
# always: the blue curve never turns. Only points that took no part in the search can say when to stop, and those may
# then not be the ones by which you report how good the model is, for they have been used: keep a third part for that.
#
# **What to try.** `decay` from $10^{-6}$ to 10: where is the best? Twice as many points, `rng.uniform(-1, 1, 24)`:
# what is left of the overfitting? Patience 1: does it stop too early?
#
# **Exercise.** `minilm exercise start early_stopping`
