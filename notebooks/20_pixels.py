# %% [markdown]
# # 20 · Pixels, and what the likelihood is for
#
# > **Minutes.** 1 to run, about 60 to read and try.
# >
# > **You need** [notebook 11](11_language_models.ipynb) for language models and their loss, and
# > [notebook 07](07_transformer_block.ipynb) for the Transformer block. The pictures come with scikit-learn.
# >
# > **Afterwards you can** read a picture as a text, say why the likelihood is maximised and over what, train a
# > Transformer that draws digits of a class you name, and turn it into a classifier with Bayes' rule.
# >
# > **The documents.** D3 §4.1.2: “表示在给定前 $i-1$ 个像素和类别标签的情况下，第 $i$ 个像素的条件概率” (the conditional
# > probability of pixel i, given the i − 1 pixels before it and the class) · D2 §4.3.2: “最小化语言模型的似然函数”
# > (minimise the likelihood of the language model; it is to be maximised)
# >
# > **Words.** [nat, logit and perplexity](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F24](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $x_i$ pixel $i$ of a picture, $m$ pixels, $G$ grey levels, $y$ the class, $K$ classes, $N$ pictures,
# $\theta$ parameters, $z$ logits.
#
# A language model predicts the next word from the words before it. Nothing in it knows what a word is: it sees
# numbers. So give it other numbers, the pixels of a handwritten digit, one after another.

# %%
import numpy as np
import torch
from matplotlib.patches import Rectangle
from sklearn.linear_model import LogisticRegression

from minilm import GPT, Budget, CausalLM, GPTConfig, LearningRate, Optimisation, TrainingRun, initialise
from minilm.examples.pixels import PictureBatches, digits, split
from minilm.formulas import likelihood as likelihoods, pixels as formulas
from minilm.formulas.cross_entropy import softmax
from minilm.models.gpt import learning_rate_scales
from minilm.training.picturing import draw_pictures, log_probabilities
from minilm.viz import schematics
from minilm.viz.pixels import image_rows
from minilm.viz.plots import COLOURS, GREY
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# ## A picture is a text  (F24 · D3 §4.1.2)
# D3 prints the probability of a picture $x_1, \dots, x_m$ of class $y$ as a product, and the formula is right:
#
# $$P(x_1, x_2, \dots, x_m \mid y) = \prod_{i=1}^m P(x_i \mid x_{i-1}, x_{i-2}, \dots, x_1, y)$$
#
# It is the formula of the language model, F23, with a class in front. The order of the pixels is up to us, because the
# product holds in every order; we read row by row. The class becomes one more token, the first one. Then a causal
# Transformer, [notebook 11's](11_language_models.ipynb) model of text, can be used without changing a line.

# %%
schematics.pixels_by_class()

# %% [markdown]
# scikit-learn brings 1,797 handwritten digits of 8 × 8 pixels. Every pixel has one of 17 grey levels, from 0 (paper) to
# 16 (ink). We learn from most of them, make every choice on a *development part*, and measure on a *test part* that
# nothing was chosen on.

# %%
held = 40 if FAST else 300  # pictures in the development part, and in the test part
learn, tune, test = split(digits(), held, held, seed=0)
m, G, K = learn.pixels, learn.levels, learn.classes
ids = learn.rows()  # [N, 1 + m]
print(f"{len(learn):,} pictures to learn from; m = {m} pixels, G = {G} grey levels, K = {K} classes")
print("the first 20 tokens of a picture:", ids[0, :20].tolist(), "where", ids[0, 0].item(), "means class", learn.y[0])
shown = np.stack([learn.x[learn.y == y][:8] for y in range(K)])
image_rows(shown, [str(y) for y in range(K)], title="Eight digits of each class")

# %% [markdown]
# **What to try.** Read the picture column by column: look at `learn.x[0].reshape(8, 8).T.ravel()[:20].tolist()`. Is it
# still a picture for the model?
#
# <details><summary>Answers</summary>
#
# 1. Yes. The product of F24 holds in every order, and a model that is trained in this order learns it as well. What
#    changes is what each pixel knows when it is predicted: the pixels to its left instead of those above it.
#
#    ```text
#    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 1, 0, 1, 7, 13, 16]
#    ```
#
# </details>
#
# ## First count: a histogram for every pixel  (F24 · D3 §4.1.2)
# What does a model lose that forgets the pixels before? Then each factor is $P(x_i \mid y)$, and it can be counted: how
# often does pixel $i$ have the grey level $v$ in the pictures of class $y$? As in notebook 11, we add a little, $s$, to
# every count:
#
# $$P(x_i = v \mid y) = \frac{n_{yiv} + s}{\sum_{v'} n_{yiv'} + sG}$$
#
# The figure to compare is the number of **bits per pixel**, $-\frac{1}{Nm} \sum \log_2 P(x \mid y)$: what a file would
# need for each pixel if the model compressed it. A bit is the unit of the logarithm to base 2; a nat has 1.44 bits.
#
# **Predict first.** A model that knows nothing needs $\log_2 17 = 4.09$ bits per pixel. How many does a histogram of
# each pixel need, and how many one of each pixel and class?
#
# <details><summary>Answer</summary>
#
# About 2.4, and about 2.2. Most of the gain comes from knowing *where* the pixel is (many pixels at the border are
# always white). The class brings little more, because each pixel is still predicted on its own.
#
# </details>

# %%
s = 0.3
nobody = np.zeros(len(learn), dtype=int)  # one class for all: the model does not know the class
per_pixel = formulas.pixel_histograms(learn.x, nobody, G, 1, s)  # [1, m, G]
per_class = formulas.pixel_histograms(learn.x, learn.y, G, K, s)  # [K, m, G]
n = np.array([[np.bincount(learn.x[learn.y == y][:, i], minlength=G) for i in range(m)] for y in range(K)])
agree("P(xᵢ = v | y)", (n + s) / (n + s).sum(axis=-1, keepdims=True), per_class)


def bits(log_p):
    return formulas.bits_per_pixel(log_p, m)


own = np.arange(len(test)), test.y
counted = {
    "nothing": np.log2(G),
    "pixel": bits(formulas.histogram_log_probabilities(per_pixel, test.x)[:, 0]),
    "pixel and class": bits(formulas.histogram_log_probabilities(per_class, test.x)[own]),
}
print("bits per pixel, by what is known:", {what: round(float(value), 2) for what, value in counted.items()})

# %%
surprise = -np.log2(per_pixel[0, np.arange(m), test.x]).mean(axis=0)  # [m] bits
picture, (left, right) = panels(1, 2, width=9, height=3.6)
image = left.imshow(surprise.reshape(8, 8), cmap="Blues", vmin=0)
picture.colorbar(image, ax=left, label="bits")
left.set(title="What each pixel costs", xticks=range(8), yticks=range(8), xlabel="column", ylabel="row")
right.bar(list(counted), counted.values(), color=[COLOURS[7], COLOURS[1], COLOURS[0]])
right.set(title="Bits per pixel, by what is known", ylabel="bits per pixel")
picture

# %% [markdown]
# **Wrong, then right.** "I do not want to invent counts, so $s$ is almost 0." Then a single pixel of the test part with
# a grey level that was never seen there makes the whole picture nearly impossible. And if $s$ is large, every pixel is
# nearly uniform. The best $s$ lies between; we choose it on the development part.

# %%
candidates = (1e-9, 1e-3, 1e-2, 0.1, 0.3, 1.0, 10.0, 100.0)
tuned = []
for each in candidates:
    P = formulas.pixel_histograms(learn.x, learn.y, G, K, each)
    tuned.append(bits(formulas.histogram_log_probabilities(P, tune.x)[np.arange(len(tune)), tune.y]))
print("bits per pixel on the development part:", dict(zip(candidates, np.round(tuned, 2).tolist(), strict=True)))
best = candidates[int(np.argmin(tuned))]
claim("The best s is neither the smallest nor the largest.", candidates[0] < best < candidates[-1])
if not FAST:
    claim("With s near 0, more than a quarter of a bit per pixel is lost.", tuned[0] > min(tuned) + 0.25)

# %% [markdown]
# **What to try.** Set `s` to 100. Which of the two histograms suffers more, and why?
#
# <details><summary>Answers</summary>
#
# 1. The one of each pixel and class. It has ten times as many cells for the same pictures, so that 100 invented
#    pictures per grey level outweigh the 120 real ones of a class.
#
#    ```text
#    bits per pixel, by what is known: {'nothing': 4.09, 'pixel': 2.87, 'pixel and class': 3.62}
#    ```
#
# </details>
#
# ## Maximised, not minimised  (F37 · D2 §4.1, §4.3.1, §4.3.2)
# Why should the parameters of a histogram be *counts*? Because they make the pictures that we have seen most probable.
# The probability of the examples, as a function of the parameters, is called the **likelihood**:
#
# $$L(x; \theta) = \prod_{i=1}^N P(x_i; \theta) \qquad\qquad \log L(x; \theta) = \sum_{i=1}^N \log P(x_i; \theta)$$
#
# D2 prints three times “最小化语言模型的似然函数 $L(x; \theta)$”, *minimise the likelihood of the language model*. The sign
# is wrong each time. What training minimises is the *loss*, $-\frac1N \log L$; the likelihood itself is **maximised**.
#
# Take one pixel with $G$ grey levels and the logits $\theta$ $[G]$, so that $P = \text{softmax}(\theta)$. With $n$ $[G]$
# the counts of the grey levels,
#
# $$\frac{\partial \log L}{\partial \theta} = n - N\, \text{softmax}(\theta)$$
#
# It is zero exactly where softmax$(\theta) = n/N$: counting *is* maximum likelihood. We follow this gradient upwards
# (right) and downwards (as printed), from the same start.
#
# **Predict first.** The second walk minimises the likelihood, step by step. Where does it end?
#
# <details><summary>Answer</summary>
#
# It never ends. A probability can always be made smaller, so the loss grows without bound. The walk makes the grey levels
# that really occur impossible, the most frequent one first.
#
# </details>

# %%
pixel = learn.x[:, 20]  # [N] the grey levels of one pixel in the middle
theta = np.zeros(G)
by_hand = np.bincount(pixel, minlength=G) - len(pixel) * softmax(theta)
agree("the gradient of log L", by_hand, likelihoods.log_likelihood_gradient(theta, pixel))
by_torch = torch.zeros(G, dtype=torch.float64, requires_grad=True)
torch.log_softmax(by_torch, 0)[torch.tensor(pixel)].sum().backward()
agree("the gradient of log L, by PyTorch", by_hand, by_torch.grad)

walk = 200
up = likelihoods.maximise(theta, pixel, 2.0, walk)  # [walk + 1, G]
down = likelihoods.minimise_as_printed(theta, pixel, 2.0, walk)
loss_up, loss_down = (
    np.array([-likelihoods.log_likelihood(each, pixel) / len(pixel) for each in path]) for path in (up, down)
)
print(
    f"the loss before: {loss_up[0]:.2f} nats; maximised: {loss_up[-1]:.2f}; minimised as printed: {loss_down[-1]:.0f}"
)

# %%
picture, (left, right) = panels(1, 2, width=10, height=3.6)
left.plot(loss_down, color=COLOURS[1], label="minimised, as printed")
left.plot(loss_up, color=COLOURS[0], label="maximised")
left.set(title="The loss −log L / N", xlabel="step", ylabel="nats")
left.legend()
grey = np.arange(G)
right.bar(grey, likelihoods.most_likely(pixel, G), color=GREY, alpha=0.5, label="n / N: counted")
right.plot(grey, softmax(up[-1]), "o", color=COLOURS[0], label="maximised")
right.plot(grey, softmax(down[-1]), "x", color=COLOURS[1], ms=8, label="minimised, as printed")
right.set(title="P(x) of one pixel", xlabel="grey level", ylabel="probability", xticks=range(0, G, 4))
right.legend()
picture

# %%
counts = likelihoods.most_likely(pixel, G)
apart = [float(np.abs(softmax(path[-1]) - counts).max()) for path in (up, down)]
print(f"largest distance from the counts: maximised {apart[0]:.4f}, minimised {apart[1]:.2f}")
claim("Maximising leads to the counts.", apart[0] < 0.01)
claim("Minimising makes the loss larger at every step.", np.diff(loss_down) > 0)
claim(
    "The last steps add as much as those in the middle: there is no end.",
    np.ptp(np.diff(loss_down)[walk // 2 :]) < 1e-3,
)
claim("The likelihood itself is 0 in a computer.", likelihoods.likelihood(up[-1], pixel) == 0)

# %% [markdown]
# **What to try.** Walk for ten times as many steps, `walk = 2000`: how does the loss as printed grow? · Take the first
# pixel, `pixel = learn.x[:, 0]`, which is always white. What is its maximum likelihood, and why do we add $s$?
#
# <details><summary>Answers</summary>
#
# 1. In a straight line: ten times as many steps, about ten times the loss. The maximised one stays where it is.
#
#    ```text
#    the loss before: 2.83 nats; maximised: 2.54; minimised as printed: 4234
#    ```
# 2. Probability 1 for white and 0 for everything else, and the loss goes to 0. It is the best answer for these pictures
#    and a bad one for the next: a single grey corner would be impossible. Maximum likelihood says nothing about what it
#    has not seen.
#
#    ```text
#    the loss before: 2.83 nats; maximised: 0.00; minimised as printed: 428
#    no longer true: The likelihood itself is 0 in a computer.
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start likelihood`
#
# ## The maximum over what?  (F25, F26 · D3 §4.2.1, §4.2.2)
# D3 prints maxima, but over something else. For masked words it has $\max_{w_i} P(w_i \mid \dots)$, for next sentences
# $\max_y P(y \mid w_A, w_B)$. The maximum over the answer is how a finished model is *used*: it names the most probable
# word or class. How a model is *trained* is a maximum over its parameters, of the probability of the *true* answer:
#
# $$\text{prediction:} \quad \hat y = \arg\max_y P(y \mid x; \theta) \qquad\qquad
# \text{training:} \quad \hat\theta = \arg\max_\theta \sum_n \log P(y_n \mid x_n; \theta)$$
#
# What happens if you take the printed formula for the aim of training? We need only a model with answers: a matrix
# $\theta$ $[m, K]$ that reads digits, logits $z = x\theta$ (the same would happen to sentence pairs).
#
# **Predict first.** Trained to make its most probable answer as probable as possible, how many of the digits does the
# model read?
#
# <details><summary>Answer</summary>
#
# About as many as it did by chance. Its aim is reached when it is certain; the true digits do not occur in it. So it
# becomes certain of whatever it preferred at the start.
#
# </details>

# %%
ink, test_ink = learn.x / (G - 1), test.x / (G - 1)  # from 0 to 1
start = 0.1 * rng.normal(size=(m, K))
aims = {}
for aim in ("as printed", "likelihood"):
    theta = start.copy()
    for _ in range(100 if FAST else 1500):
        z = ink @ theta
        if aim == "as printed":
            upward = likelihoods.largest_probability_as_printed_gradient(z)
        else:
            upward = (np.eye(K)[learn.y] - softmax(z)) / len(z)  # of log P(true class), the mean
        theta = theta + 0.5 * ink.T @ upward
    z = test_ink @ theta
    aims[aim] = likelihoods.largest_probability_as_printed(z), float(np.mean(z.argmax(axis=1) == test.y))
    print(
        f"{aim:11} probability of the favourite {aims[aim][0]:.2f}, share of the digits that are read {aims[aim][1]:.0%}"
    )

if not FAST:
    claim("As printed, the model becomes certain.", aims["as printed"][0] > 0.95)
    claim("It reads fewer than 30 % of the digits.", aims["as printed"][1] < 0.3)
    claim("Maximum likelihood reads more than 90 %.", aims["likelihood"][1] > 0.9)

# %% [markdown]
# **What to try.** Start with larger numbers, `start = 1.0 * rng.normal(size=(m, K))`. Is the printed aim now better?
#
# <details><summary>Answers</summary>
#
# 1. No. The model is certain sooner, and of answers that it drew at random. Maximum likelihood forgets the same start.
#
#    ```text
#    as printed  probability of the favourite 1.00, share of the digits that are read 10%
#    likelihood  probability of the favourite 0.92, share of the digits that are read 98%
#    ```
#
# </details>
#
# ## A Transformer instead of the histograms  (F24 · D3 §4.1.2)
# Now no pixel is forgotten. The model is the causal Transformer of this library, `GPT`, with a vocabulary of 17 grey
# levels and ten classes. Row $i$ of its logits predicts the next token: from the class the first pixel, from the class and
# the first pixel the second, and so on. The objective is `CausalLM`, the loss of every language model here: it is
# $-\frac{1}{Nm} \log L$, so that training maximises the likelihood.

# %%
steps = 20 if FAST else 500
torch.manual_seed(0)
config = GPTConfig(learn.vocab_size, 64, 2, 4, 256, max_length=1 + m, dropout=0.1, positions="learned")
model = GPT(config)
initialise(model, generator=torch.Generator().manual_seed(0))
batches = PictureBatches(learn, 32)
optimisation = Optimisation(LearningRate(6e-3), scales=learning_rate_scales(config))
run = TrainingRun(model, CausalLM(), batches.__getitem__, Budget(steps), optimisation)
curve = []


def look(progress):
    curve.append((progress.step, bits(log_probabilities(model, tune))))


run.train([0.1, 0.2, 0.4, 0.6, 0.8], look, bar=False)
log_p = log_probabilities(model, test)  # [N]: every picture in its class
with torch.no_grad():
    z = model(test.rows()[:, :-1]).double().numpy()  # [N, m, G + K]
agree("log P(x | y), formulas", formulas.log_probability(z, test.x), log_p, atol=1e-4)
counted["all pixels before, and class"] = bits(log_p)
print("bits per pixel, by what is known:", {what: round(float(value), 2) for what, value in counted.items()})

# %% [markdown]
# Which of the pixels before does a prediction need? Attention weights would not tell ([notebook 05](05_heads.ipynb)), so
# we take away: give one earlier pixel the value that it has in some other picture, and see how many bits the pixel in
# the middle costs more.

# %%
place = 36  # row 4, column 4, counted from 0; token i of a row is pixel i − 1, because the class comes first
some = test.rows()[: 60 if FAST else 300, : place + 1]
target = torch.from_numpy(test.x[: len(some), place])[:, None]


@torch.no_grad()
def bits_in_the_middle(ids):
    return float(-model(ids)[:, -1].log_softmax(dim=-1).gather(1, target).mean() / np.log(2))


depends = np.full(m, np.nan)
for j in range(place):
    other = some.clone()
    other[:, j + 1] = other[rng.permutation(len(other)), j + 1]
    depends[j] = bits_in_the_middle(other) - bits_in_the_middle(some)

# %%
picture, (left, right) = panels(1, 2, width=10, height=3.8, width_ratios=(1, 1.1))
left.plot(*np.array(curve).T, "o-", color=COLOURS[2], label="Transformer, development part")
left.axhline(counted["pixel"], color=COLOURS[1], ls=":", label="histogram of each pixel")
left.axhline(counted["pixel and class"], color=COLOURS[0], ls="--", label="of each pixel and class")
left.set(title="Bits per pixel while it learns", xlabel="step", ylabel="bits per pixel", ylim=(None, 2.75))
left.legend(fontsize=9)
image = right.imshow(depends.reshape(8, 8), cmap="Blues", vmin=0)
right.add_patch(Rectangle((3.5, 3.5), 1, 1, fill=False, color=COLOURS[1], lw=3))
picture.colorbar(image, ax=right, label="bits lost")
right.set(title="What the framed pixel depends on", xticks=range(8), yticks=range(8))
picture

# %%
if not FAST:
    fewer = [1 - counted["all pixels before, and class"] / counted[what] for what in ("pixel", "pixel and class")]
    print(
        f"fewer bits than a histogram of each pixel: {fewer[0]:.0%}; than one of each pixel and class: {fewer[1]:.0%}"
    )
    claim("At least 15 % fewer bits than a histogram of each pixel.", fewer[0] > 0.15)
    claim("At least 10 % fewer than one of each pixel and class.", fewer[1] > 0.1)
    left, above, mean = depends[place - 1], depends[place - 8], np.nanmean(depends)
    print(f"bits lost without the pixel on the left: {left:.2f}; the one above: {above:.2f}; on average: {mean:.2f}")
    claim("The pixel on the left says ten times as much as the average earlier pixel.", left > 10 * mean)

# %% [markdown]
# **What to try.** Train for half as many `steps`, 250. How many bits does that cost?
#
# <details><summary>Answers</summary>
#
# 1. 0.2 bits per pixel: it is still better than both histograms, but only a little. What it has learned by then is the
#    pixel on the left; the shapes come later.
#
#    ```text
#    fewer bits than a histogram of each pixel: 15%; than one of each pixel and class: 5%
#    bits lost without the pixel on the left: 0.92; the one above: 0.01; on average: 0.03
#    ```
#
# </details>
#
# ## Drawing  (F24 · D3 §4.1.2)
# To draw a digit, start with its class, take the probabilities of the first pixel, draw one grey level at random, and
# append it; then the second pixel, and so on, 64 times. It is `generate`, which writes texts in notebook 17, and nothing
# else. Everything that you see below was drawn; none of it is a picture of the collection.

# %%
each, temperature = (2 if FAST else 10), 1.0
drawn = draw_pictures(model, test, np.repeat(range(K), each).tolist(), seed=1, temperature=temperature)
spread = [
    np.mean([x[y == k].std(axis=0).mean() for k in range(K)])
    for x, y in ((drawn, np.repeat(range(K), each)), (test.x, test.y))
]
print(f"standard deviation of a pixel within a class: drawn {spread[0]:.1f}, real {spread[1]:.1f}")
image_rows(drawn.reshape(K, each, m), [str(y) for y in range(K)], title="Drawn by the model, class by class")

# %% [markdown]
# Is that better than drawing every pixel from its histogram? A classifier that never saw a drawn picture shall judge:
# logistic regression, trained on the real ones. It says how many of the drawn digits look like the class that was asked
# for.

# %%
judge = LogisticRegression(C=1.0, max_iter=5000).fit(ink, learn.y)
asked = np.repeat(range(K), 5 if FAST else 30)
by_model = draw_pictures(model, test, asked.tolist(), seed=2)
by_histogram = np.array([[rng.choice(G, p=p) for p in per_class[y]] for y in asked])
recognised = {
    "real digits": judge.score(test_ink, test.y),
    "drawn by the Transformer": judge.score(by_model / (G - 1), asked),
    "drawn from histograms": judge.score(by_histogram / (G - 1), asked),
}
print({what: f"{value:.0%}" for what, value in recognised.items()})
worlds = np.stack([by_model.reshape(K, -1, m)[3, :5], by_histogram.reshape(K, -1, m)[3, :5]])
image_rows(worlds, ["Transformer", "histograms"], title="Five threes each")

# %% [markdown]
# **Wrong, then right.** The judge reads the histograms' pictures even better than the Transformer's. So is it better to
# draw every pixel on its own? Look at them: they are noise with the right average. A classifier only asks which class
# fits *best*, and noise around the average of a class fits that class best of all. It does not ask whether the picture
# looks like a digit. That question has an answer, too: how many bits does a picture cost the model?

# %%
cost = {
    what: bits(log_probabilities(model, type(test)(x, y, G, K)))
    for what, x, y in (
        ("real digits", test.x, test.y),
        ("drawn by the Transformer", by_model, asked),
        ("drawn from histograms", by_histogram, asked),
        ("real, pixels in reverse order", test.x[:, ::-1].copy(), test.y),
    )
}
print("bits per pixel:", {what: round(value, 2) for what, value in cost.items()})
if not FAST:
    more = {what: value - cost["real digits"] for what, value in cost.items()}
    claim("What it drew itself costs it about as much as real digits.", abs(more["drawn by the Transformer"]) < 0.3)
    claim("Pictures from histograms cost at least 0.5 bits per pixel more.", more["drawn from histograms"] > 0.5)

# %% [markdown]
# **What to try.** Draw at the `temperature` 0.5. What do the digits gain, and what do they lose? · Give the upper half of
# real digits, let the model draw the lower one, and ask the judge:
# `half = draw_pictures(model, test, test.y[:100].tolist(), begun=test.x[:100, :32])`, then
# `judge.score(half / (G - 1), test.y[:100])`.
#
# <details><summary>Answers</summary>
#
# 1. They become smooth and clear, and more alike: unlikely grey levels are hardly drawn any more, so that the pixels of a
#    class differ less from one picture to the next than those of real digits.
#
#    ```text
#    standard deviation of a pixel within a class: drawn 1.9, real 2.6
#    ```
# 2. The judge reads 95 of 100. The lower halves fit the upper ones, because every pixel is drawn given all pixels
#    before it, whoever made them.
#
#    ```text
#    0.95
#    ```
#
# </details>
#
# ## Recognising: Bayes' rule  (F24 · D3 §4.1.2)
# The model gives $P(x \mid y)$, the probability of the picture given the class. A classifier needs the opposite,
# $P(y \mid x)$. Bayes' rule turns one into the other:
#
# $$P(y \mid x) = \frac{P(x \mid y)\, P(y)}{\sum_{y'} P(x \mid y')\, P(y')}$$
#
# So put each of the ten classes in front of the same picture and see where its pixels surprise the model least.
# $P(y)$ is the share of each class among the pictures to learn from.
#
# **Predict first.** Logistic regression is trained to tell the classes apart and reads about 98 % of the digits. The
# Transformer was trained to predict pixels. Will it be far behind?
#
# <details><summary>Answer</summary>
#
# No, it is about as good, although nobody ever told it that it would have to tell classes apart. To predict the pixels
# well, it had to learn what the classes look like.
#
# </details>

# %%
first = m  # how many pixels of a picture are read: all of them
with torch.no_grad():
    z = [model(test.rows(y)[:, :first]).double().numpy() for y in range(K)]  # one for each class: [N, first, G + K]
log_p = np.stack([formulas.log_probability(each, test.x[:, :first]) for each in z], axis=1)  # [N, K]
prior = learn.prior()
p = formulas.class_probabilities(log_p, prior)  # [N, K]
with np.errstate(under="ignore"):
    joint = np.exp(log_p) * prior
agree("Bayes' rule", joint / joint.sum(axis=1, keepdims=True), p, atol=1e-6)
naive = formulas.class_probabilities(formulas.histogram_log_probabilities(per_class, test.x), prior)
read = {
    "histograms, Bayes": float(np.mean(naive.argmax(axis=1) == test.y)),
    "Transformer, Bayes": float(np.mean(p.argmax(axis=1) == test.y)),
    "logistic regression": float(judge.score(test_ink, test.y)),
}
print("share of the digits that are read:", {what: round(value, 3) for what, value in read.items()})

# %%
order = np.argsort(p[own])[:6]  # the six to whose true class it gives least
picture, axes = panels(2, 6, width=10, height=4.2)
for (upper, lower), i in zip(axes.T, order, strict=True):
    upper.imshow(test.x[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=G - 1)
    upper.set(xticks=[], yticks=[], title=f"a {test.y[i]}, read as {p[i].argmax()}")
    upper.title.set_fontsize(10)
    lower.bar(range(K), p[i], color=[COLOURS[2] if y == test.y[i] else COLOURS[1] for y in range(K)])
    lower.set(xticks=range(0, K, 3), ylim=(0, 1), xlabel="class")
axes[1, 0].set_ylabel("P(y | x)")
picture

# %%
if not FAST:
    claim("By Bayes' rule, the Transformer reads at least 93 % of the digits.", read["Transformer, Bayes"] >= 0.93)
    claim("It reads more than the histograms do.", read["Transformer, Bayes"] > read["histograms, Bayes"])

# %% [markdown]
# **What to try.** Read only the upper half of every picture, `first = 32`. How many digits does the model still read?
#
# <details><summary>Answers</summary>
#
# 1. 84 %, from half of the pixels, and without training again: the model gives a probability to every beginning of a
#    picture. A classifier that was trained on whole pictures cannot do that.
#
#    ```text
#    share of the digits that are read: {'histograms, Bayes': 0.907, 'Transformer, Bayes': 0.84, 'logistic regression': 0.983}
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start bayes`

# %% [markdown]
# ## In five lines
# 1. A picture is a text: a class, then its pixels. A causal Transformer models it without a change.
# 2. Histograms of each pixel forget the pixels before; a Transformer that remembers them needs far fewer bits per pixel.
# 3. The likelihood is maximised, over the parameters. Minimising it, as D2 prints, drives the loss to infinity.
# 4. A maximum over the answer, as D3 prints, is prediction; as an aim of training it makes a model certain, not right.
# 5. One model, two uses: draw pixel after pixel from $P(x \mid y)$, or recognise the class with Bayes' rule.
#
# **Where to read on.** Fisher (1922), *On the mathematical foundations of theoretical statistics* · van den Oord,
# Kalchbrenner and Kavukcuoglu (2016), *Pixel recurrent neural networks*, arXiv:1601.06759 · Ng and Jordan (2001), *On
# discriminative vs. generative classifiers* · Chen and others (2020), *Generative pretraining from pixels*
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `bayes` | 25 | medium |
# | `likelihood` | 20 | easy |
