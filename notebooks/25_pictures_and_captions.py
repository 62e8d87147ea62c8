# %% [markdown]
# # 25 · Pictures and captions
#
# > **Minutes.** 1 to run, about 50 to read and try.
# >
# > **You need** [notebook 07](07_transformer_block.ipynb) for the Transformer block and
# > [notebook 20](20_pixels.ipynb) for the digits. The pictures come with scikit-learn.
# >
# > **Afterwards you can** write the loss that brings pictures and texts into one space, say what it needs from its data
# > and what it does not, and let a model name digits although nobody ever gave it a class.
# >
# > **The documents.** D2 §4.3.2: “收集大规模无标签的视觉和文本数据” (collect pictures and texts without labels, on a large
# > scale) · D2 §4.3.2: “最小化语言模型的似然函数” (minimise the likelihood of the language model) · D2 §4.3.2:
# > “通过有监督学习优化模型在视觉推理任务上的性能” (optimise the model on a visual task by supervised learning)
# >
# > **Words.** [nat, logit and cross-entropy](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F35](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $N$ pairs in a batch, $m$ pixels, $T$ tokens, $D$ size of the common space, $u_i$ the vector of picture $i$,
# $v_i$ that of its caption, $\hat u = u / \lVert u \rVert$, $s$ a scale, $S$ the matrix of similarities.
#
# D2 explains a model called CLIP, which reads pictures and texts, in three steps: collect data *without labels*, *minimise
# the likelihood* of a language model, then *fine-tune* on labelled pictures. None of the three is what CLIP does. This
# notebook builds it, in small, and looks at each of the three.

# %%
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from minilm import Budget, LearningRate, Optimisation, TrainingRun, initialise
from minilm.examples.captions import (
    LEARNED,
    NUMBERS,
    UNSEEN,
    CaptionBatches,
    Meaning,
    as_batch,
    borders,
    caption,
    caption_tokenizer,
    meanings,
)
from minilm.examples.pixels import digits, split
from minilm.formulas import contrastive as formulas
from minilm.formulas.cross_entropy import softmax
from minilm.models.picture_text import PictureText, PictureTextConfig
from minilm.training.picture_text import Contrastive, compare
from minilm.viz import schematics
from minilm.viz.pixels import image_rows
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# ## Pairs  (F35 · D2 §4.3.2)
# "Without labels" is the first thing that is not so. The data are *pairs*: to every picture belongs the text that somebody
# wrote below it. Nobody had to sort the pictures into classes, and that is the point; but a picture without its caption
# would be of no use here.
#
# Ours are the digits of [notebook 20](20_pixels.ipynb). People wrote the digits, and a program writes the captions: it
# measures how much ink a digit has and how far it leans, and if that stands out among the digits of its kind, it says so.
# The captions to learn from have five wordings; those of the test have two others.

# %%
held = 60 if FAST else 300
learn, tune, test = split(digits(), held, held, seed=0)
border = borders(learn)  # where the quarters with the least and the most ink, and lean, begin
said = meanings(learn, border)
for k, i in enumerate([i for i, meaning in enumerate(said) if meaning.stroke != 1 and meaning.lean != 1][:3]):
    print(said[i], "→", caption(said[i], LEARNED[k]), "·", caption(said[i], UNSEEN[k % 2]))
print(f"{len(learn):,} pairs to learn from; {len(set(said))} of their captions differ in meaning")
shown = [Meaning(7, 0, 2), Meaning(7, 2, 0), Meaning(3, 1, 1)]
rows = [[x for x, meaning in zip(learn.x, said, strict=True) if meaning == each][:5] for each in shown]
few = min(len(row) for row in rows)
image_rows(np.array([row[:few] for row in rows]), [caption(each, LEARNED[0]) for each in shown])

# %% [markdown]
# ## Which belong together?  (F35)
# Two models, the *towers*, turn a picture and a text into vectors of the same size. How well they fit is the cosine of the
# angle between them, times a scale:
#
# $$S_{ij} = s \cdot \hat u_i \cdot \hat v_j$$
#
# In a batch of $N$ pairs, row $i$ of $S$ compares picture $i$ with all captions, and only caption $i$ is right. That is
# an exam question with $N$ answers, and we know a loss for it, the cross-entropy. Column $j$ asks the same question about
# caption $j$. The **contrastive loss** is the mean of both:
#
# $$L = \tfrac12 \left( \text{CE}(S, i) + \text{CE}(S^{\mathsf T}, i) \right)$$

# %%
schematics.two_towers()

# %% [markdown]
# **Predict first.** Before anything is learned, the vectors point anywhere. What is the loss of a batch of 24 pairs,
# roughly?
#
# <details><summary>Answer</summary>
#
# A little more than $\log 24 = 3.18$ nats: with 24 answers that look alike, each gets about a 24th. If $s$ is large, it
# is more than a little, because then small differences that mean nothing already make the model sure of wrong answers.
#
# </details>

# %%
N, D = 24, 8
s = 1 / 0.07  # where CLIP starts
u, v = rng.normal(size=(N, D)), rng.normal(size=(N, D))
S = formulas.similarities(u, v, s)
i = np.arange(N)
by_hand = -(np.log(softmax(S))[i, i].mean() + np.log(softmax(S.T))[i, i].mean()) / 2
agree("the contrastive loss", by_hand, formulas.contrastive_loss(S))
for scale in (1.0, 5.0, s):
    print(f"s = {scale:4.1f}: {formulas.contrastive_loss(formulas.similarities(u, v, scale)):.2f} nats")
print(f"log N = {np.log(N):.2f}")

# %% [markdown]
# Its gradient has a plain meaning. In $\partial L / \partial S$, the diagonal is pulled up, and everything else is pushed
# down, the more the more probable it is. A vector is then turned, and not made longer, since its length is divided out.

# %%
du, dv, ds = formulas.contrastive_gradients(u, v, s)
tensors = [torch.tensor(each, requires_grad=True) for each in (u, v)] + [
    torch.tensor(s, dtype=torch.float64, requires_grad=True)
]
torch_S = tensors[2] * F.normalize(tensors[0], dim=1) @ F.normalize(tensors[1], dim=1).T
labels = torch.arange(N)
((F.cross_entropy(torch_S, labels) + F.cross_entropy(torch_S.T, labels)) / 2).backward()
for name, ours, theirs in zip(("∂L/∂u", "∂L/∂v", "∂L/∂s"), (du, dv, ds), tensors, strict=True):
    agree(f"{name} by PyTorch", ours, theirs.grad.numpy(), atol=1e-10)
claim("No vector is pulled along itself.", np.abs((du * u).sum(axis=1)) < 1e-12)

# %% [markdown]
# **What to try.** Give the texts the vectors of their pictures, `S = formulas.similarities(u, u, s)`. What is the loss
# now? · Set the scale `s = 1.0`. Can the loss of pictures and texts that have the same vectors, `(u, u, s)`, still be
# small?
#
# <details><summary>Answers</summary>
#
# 1. Nearly 0: the cosine with its own caption is 1, and no other comes close to it.
#
#    ```text
#    0.02435350229678314
#    ```
# 2. No. Cosines lie between −1 and 1, so that the right answer leads by at most 2, and all other answers together always
#    keep some probability. This is why $s$ exists, and why it is learned.
#
#    ```text
#    2.291835779298206
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start contrastive`
#
# ## Learning  (F35)
# The picture tower cuts a digit into 16 patches of 2 × 2 pixels, which are its tokens; the text tower reads words. Both
# are Transformers of one layer, and take the mean of their last vectors. No word is predicted, and nothing is a language
# model, so there is no likelihood of one that could be minimised or maximised: the second thing that is not so.

# %%
steps, size = (30 if FAST else 1200), (12 if FAST else 24)
tokenizer = caption_tokenizer()


def trained(batches, seed=0):
    """A new model, trained on these batches."""
    model = PictureText(PictureTextConfig(tokenizer.size, width=32, layers=1, dropout=0.0))
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    measured = []

    def measure(progress):
        measured.append((progress.step, Contrastive().measure(model, checks)["loss"]))
        model.train()

    run = TrainingRun(
        *(model, Contrastive(), batches.__getitem__, Budget(steps=steps)),
        Optimisation(LearningRate(5e-3, 0.1)),
    )
    measure(run.progress)
    run.train([k / 12 for k in range(1, 13)], measure, bar=False)
    return model.eval(), measured


batches = CaptionBatches(learn, said, tokenizer, size, seed=1)
said_of_tune = meanings(tune, border)
distinct = [said_of_tune.index(each) for each in dict.fromkeys(said_of_tune)][:size]
checks = [as_batch(tokenizer, [caption(said_of_tune[j], UNSEEN[0]) for j in distinct], tune.x[distinct])]
model, curve = trained(batches)
print(f"held-out loss, {len(distinct)} pairs: {curve[0][1]:.2f} → {curve[-1][1]:.2f} nats")

# %%
S = compare(model, checks[0], tune.x[distinct])
picture, (left, right) = panels(1, 2, width=10, height=4)
left.plot(*np.array(curve).T, "o-", color=COLOURS[0])
left.axhline(np.log(len(distinct)), color=COLOURS[1], ls=":", label="log N: all alike")
left.set(title="Loss of pairs that it has not seen", xlabel="step", ylabel="nats", ylim=(0, None))
left.legend()
image = right.imshow(S, cmap="Blues", vmin=0, vmax=1)
picture.colorbar(image, ax=right, label="cosine")
right.set(title="Their cosines, after training", xlabel="caption", ylabel="picture")
picture

# %%
if not FAST:
    claim("The loss of unseen pairs falls to less than a third of log N.", curve[-1][1] < np.log(len(distinct)) / 3)
    claim("The diagonal is larger than the rest, on average.", np.diag(S).mean() > S.mean() + 0.3)

# %% [markdown]
# **What to try.** Train for a quarter of the `steps`, 300. How far does the loss come?
#
# <details><summary>Answers</summary>
#
# 1. Most of the way: which digit it is, is learned early. The stroke and the lean, which tell the captions of the same
#    digit apart, take longer.
#
#    ```text
#    held-out loss, 24 pairs: 3.41 → 1.04 nats
#    ```
#
# </details>
#
# ## A wrong answer has to be wrong  (F35)
# All other captions of a batch count as wrong. But if two pictures in it show a thin seven, the caption of one is a
# perfectly good caption of the other. Our batches therefore never hold two pairs with the same meaning (`apart`). In
# CLIP's batches of 32,768 pairs from the web it happens, and it costs little, because there it is rare.
#
# **Wrong, then right.** Take it to the extreme: only two different captions, each with half of the batch. No model can
# bring this loss below $\log \frac N2$, however good it is.

# %%
best_vectors = np.repeat(np.eye(2), N // 2, axis=0)  # every pair of the same meaning has the same vector
floor = formulas.contrastive_loss(formulas.similarities(best_vectors, best_vectors, 100.0))
print(f"the best possible loss, 2 meanings in {N} pairs: {floor:.3f} nats; log N/2 = {np.log(N / 2):.3f}")
agree("the floor is log N/2", floor, np.log(N / 2), atol=1e-6)

# %% [markdown]
# The other control: are the pairs needed at all? Give every picture the caption of another one. Then the pictures are the
# same, the captions are the same, and only who belongs to whom is lost.
#
# **Predict first.** What will this model be able to do?
#
# <details><summary>Answer</summary>
#
# Nothing. Pictures alone and texts alone say nothing about each other. What the data know is in the pairs, and so
# "without labels" is true of classes only.
#
# </details>

# %%
shuffled, curve_shuffled = trained(CaptionBatches(learn, said, tokenizer, size, seed=1, shuffled=True))
print(
    f"captions shuffled: {curve_shuffled[-1][1]:.2f} nats on true pairs; all alike would be {np.log(len(distinct)):.2f}"
)
if not FAST:
    claim("From shuffled pairs nothing is learned.", curve_shuffled[-1][1] > np.log(len(distinct)) - 0.05)

# %% [markdown]
# ## Finding  (F35)
# Now the model is used as it is. For a caption, take the picture with the largest cosine; for a picture, the caption. All
# pictures are those of the test part, and all captions have words in an order that no caption to learn from had.

# %%
said_of_test = meanings(test, border)
kinds = sorted(set(said_of_test))
questions = as_batch(tokenizer, [caption(kind, UNSEEN[k % 2]) for k, kind in enumerate(kinds)])
cosines = compare(model, questions, test.x)  # [pictures, captions]
to_caption = [kinds[k] for k in cosines.argmax(axis=1)]
to_picture = [said_of_test[k] for k in cosines.argmax(axis=0)]
found = {
    "picture → caption, the digit": np.mean(
        [a.digit == b.digit for a, b in zip(to_caption, said_of_test, strict=True)]
    ),
    "picture → caption, all of it": np.mean([a == b for a, b in zip(to_caption, said_of_test, strict=True)]),
    "caption → picture, the digit": np.mean([a.digit == b.digit for a, b in zip(to_picture, kinds, strict=True)]),
}
print(f"{len(kinds)} captions, {len(test)} pictures:", "; ".join(f"{k} {value:.0%}" for k, value in found.items()))
asked = ["a bold seven that leans to the left", "a thin one", "a zero", "a bold three that leans to the right"]
order = np.argsort(-compare(model, as_batch(tokenizer, asked), test.x), axis=0)[:10]  # [10, captions]
image_rows(test.x[order.T], asked, title="The ten nearest pictures of the test part")

# %% [markdown]
# **What to try.** Ask for what does not exist here: add `"a seven that is a three"` to `asked`. What comes?
#
# <details><summary>Answers</summary>
#
# 1. Ten pictures come, as for the others: there is a nearest one to every vector. A model of this kind cannot say "there is none",
#    unless somebody looks at how large the cosine is.
#
#    ```text
#    80 captions, 300 pictures: picture → caption, the digit 90%; picture → caption, all of it 60%; caption → picture, the digit 95%
#    ```
#
# </details>
#
# ## Naming without classes  (F35 · D2 §4.3.2)
# The third step of D2 is fine-tuning with labelled pictures. CLIP became famous for doing without. Write sentences about
# each class, and ask which sentence fits the picture best. With $s$ and a softmax over all sentences, the probabilities
# of those about the same digit are added up:
#
# $$P(y \mid x) = \sum_{j \text{ about } y} \text{softmax}_j(s \cdot \hat u \cdot \hat v_j)$$
#
# **Predict first.** Logistic regression, which was trained on the classes of the same pictures, reads about 97 %. How
# many digits will be named correctly without a single class?
#
# <details><summary>Answer</summary>
#
# About 93 %. To match pictures and captions, the model had to find out what "seven" in a caption and the digit in
# its picture have in common. This is called *zero-shot* classification. (In our captions the digit is always
# mentioned, so they say as much as classes would. Captions from the web do not.)
#
# </details>

# %%
ways = [(stroke, lean, wording) for stroke in range(3) for lean in range(3) for wording in LEARNED]
sentences = [caption(Meaning(k, a, b), wording) for k in range(10) for a, b, wording in ways]
scale = float(model.scale.detach())
p = softmax(scale * compare(model, as_batch(tokenizer, sentences), test.x)).reshape(len(test), 10, -1).sum(axis=2)
judge = LogisticRegression(C=1.0, max_iter=5000).fit(learn.x / 16, learn.y)
named = {
    "by sentences": np.mean(p.argmax(axis=1) == test.y),
    "by shuffled pairs": np.mean(
        compare(shuffled, as_batch(tokenizer, [f"a {n}" for n in NUMBERS]), test.x).argmax(axis=1) == test.y
    ),
    "logistic regression": judge.score(test.x / 16, test.y),
}
print({how: f"{value:.3f}" for how, value in named.items()}, f"s = {scale:.1f}")

# %%
picture, axis = panels(1, 1, width=7, height=3.2)
axis.bar(list(named), list(named.values()), color=[COLOURS[0], COLOURS[7], COLOURS[1]], hatch=["", "..", "//"])
axis.axhline(0.1, color=COLOURS[7], ls=":")
axis.set(title="Share of the digits that are named correctly", ylabel="share", ylim=(0, 1))
picture

# %%
if not FAST:
    claim("Sentences name at least 85 % of the digits.", named["by sentences"] >= 0.85)
    claim("Caption → picture: at least 85 % have the right digit.", found["caption → picture, the digit"] >= 0.85)
    claim("Picture → caption: at least 85 % have the right digit.", found["picture → caption, the digit"] >= 0.85)
    claim("From shuffled pairs it is chance.", named["by shuffled pairs"] < 0.25)

# %% [markdown]
# **What to try.** Use one sentence per digit, `ways = [(1, 1, LEARNED[0])]`, which says neither stroke nor lean. How much
# does that cost?
#
# <details><summary>Answers</summary>
#
# 1. Ten points. “A seven” was the caption of sevens that are neither thin nor bold and lean nowhere, so a bold
#    one may be nearer to another digit's sentence. CLIP uses 80 sentences per class for the same reason.
#
#    ```text
#    {'by sentences': '0.830', 'by shuffled pairs': '0.130', 'logistic regression': '0.983'} s = 29.7
#    no longer true: Sentences name at least 85 % of the digits.
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
# 1. Two towers turn pictures and texts into vectors of one space; the cosine says how well they fit.
# 2. The contrastive loss is a cross-entropy in both directions, and the other pairs of the batch are the wrong answers.
# 3. A wrong answer must be wrong: pairs that mean the same in one batch put a floor under the loss.
# 4. The data are pairs, not "data without labels"; no likelihood of a language model occurs in the loss.
# 5. A finished model names classes by sentences, without fine-tuning and without ever having seen a class.
#
# **Where to read on.** Radford and others (2021), *Learning transferable visual models from natural language
# supervision*, arXiv:2103.00020 · van den Oord, Li and Vinyals (2018), *Representation learning with contrastive
# predictive coding*, arXiv:1807.03748 · Dosovitskiy and others (2021), *An image is worth 16x16 words*, arXiv:2010.11929
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `contrastive` | 25 | medium |
