# %% [markdown]
# # 26 · An ability appears
#
# > **Minutes.** 1 to run, about 45 to read and try.
# >
# > **You need** [notebook 05](05_heads.ipynb) for the heads, [notebook 06](06_positions.ipynb) for the bias by relative
# > position, and [notebook 12](12_pretraining.ipynb) for masked words.
# >
# > **Afterwards you can** watch an ability appear in a model, say which part of the model it needs, and test that with a
# > control instead of believing it.
# >
# > **The documents.** D0 §1.2: “指大语言模型在特定下游任务中表现出的优秀性能” (good performance on certain tasks) · D1 §1:
# > “自主学习和发现语言中的复杂结构” (to learn and discover the structure of language by itself) · D2 §1.2:
# > “超越原始训练数据” (beyond the training data) · D3 §1.1: “这些能力原本并不包含在模型初始设计中” (abilities that were not
# > part of the design)
# >
# > **Words.** [nat, token and batch](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F36](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $T$ length of a row, $p$ period, $w_t$ the symbol at place $t$, $c$ a character, $p(c)$ its share of the text.
#
# All four documents call something *emergence*, and no two mean the same: a good result after fine-tuning (D0), structure
# that nobody taught (D1), more than the training data hold (D2), an ability that nobody designed in (D3). None of them
# measures it. This notebook does so twice, with two models that are small enough to be watched from the first step to the
# last: one learns to repeat, and the other learns that neighbours matter.

# %%
import numpy as np
import torch

from minilm import GPT, Budget, LearningRate, Optimisation, TrainingRun, initialise
from minilm.examples.batching import Batch
from minilm.experiments.emergence import plateau
from minilm.models.gpt import GPTConfig, learning_rate_scales
from minilm.training.loop import train
from minilm.training.objectives import CausalLM
from minilm.training.optimizer import AdamW, parameter_groups
from minilm.viz.emergence import attention_film
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, claim, panels

torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# ## Rows that repeat  (F36 · D3 §1.1)
# A row is a random choice of different symbols, and then the same again, and again:
#
# $$w_1 \dots w_p \text{ random and all different}, \qquad w_t = w_{t-p} \text{ for } t > p$$
#
# The period $p$ is another one in every row. So neither a symbol nor a place tells what comes next. The only way to know it
# is to look up where the current symbol stood before, and to say what followed it there. Nobody builds that into a
# Transformer.

# %%
symbols, T, shortest, longest = 32, 32, 4, 16


def sequences(count, rng):
    """Rows [count, T], and their periods [count]."""
    periods = rng.integers(shortest, longest + 1, size=count)
    orders = rng.permuted(np.tile(np.arange(symbols), (count, 1)), axis=1)
    ids = np.take_along_axis(orders, np.arange(T)[None] % periods[:, None], axis=1)
    return torch.from_numpy(ids), torch.from_numpy(periods)


rows, periods = sequences(200, np.random.default_rng(1))
for row, p in zip(rows[:3].tolist(), periods[:3].tolist()):
    print(f"p = {p:2}:", *row[:20], "…")
can_be_known = torch.arange(1, T)[None] > periods[:, None]  # [rows, T − 1]: is the next symbol a repetition?
print(
    f"{float(can_be_known.double().mean()):.0%} of the next symbols can be looked up; guessing costs {np.log(symbols):.2f} nats"
)

# %% [markdown]
# ## The score of a head  (F36)
# Two scores say what a head does. The **previous-token score** is its mean attention from place $t$ to place $t - 1$. The
# **induction score** is its mean attention from $t$ to $t - p + 1$: one place behind the one where the current symbol stood
# last. A head that attends there sees the answer.


# %%
def score(weights, place, where):
    """The mean weight [heads] on `place` [rows, T], over the places `where`; weights are [rows, heads, T, T]."""
    index = place.clamp(min=0)[:, None, :, None].expand(-1, weights.size(1), -1, -1)
    on_place = weights.gather(-1, index)[..., 0]  # [rows, heads, T]
    return (on_place * where[:, None]).sum(dim=(0, 2)) / where.sum()


@torch.no_grad()
def measured(model):
    """The loss on what repeats, and the best head of each kind: the previous-token score in layer 1, the other in the last."""
    log_p = model.eval()(rows[:, :-1]).log_softmax(dim=-1)
    loss = -log_p.gather(-1, rows[:, 1:, None])[..., 0][can_be_known].mean()
    weights = model.encoder(rows, need_weights=True).attentions
    t = torch.arange(T)[None].expand(len(rows), -1)
    previous = score(weights[0], t - 1, (t >= 1).float())
    induction = score(weights[-1], t - periods[:, None] + 1, (t >= periods[:, None]).float())
    maps = weights[0][0, previous.argmax()], weights[-1][0, induction.argmax()]  # of the first row
    return {"loss": float(loss), "previous": float(previous.max()), "induction": float(induction.max()), "maps": maps}


# %% [markdown]
# ## Two layers and one  (F36 · D1 §1)
# The model is a small GPT, trained to say the next symbol and nothing else. We train it twice, with two layers and with one,
# on the same rows.
#
# **Predict first.** One layer has four heads, which may attend to everything before. Why could one layer not be enough?
#
# <details><summary>Answer</summary>
#
# The place to look at is the one *behind* an earlier occurrence of the current symbol. To a single layer, that place shows
# only its own symbol, which has nothing to do with the current one. The place would have to know which symbol stands in
# front of it. That is what a first layer can write into it, and what a second layer can look for.
#
# </details>

# %%
steps = 12 if FAST else 400


def trained(layers, seed=0):
    """A model after training, and what was measured on the way."""
    model = GPT(GPTConfig(symbols, width=64, layers=layers, heads=4, feed_forward=256, max_length=T))
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    how = Optimisation(
        LearningRate(2e-3, 0.05, "constant"), muon_learning_rate=0.02, scales=learning_rate_scales(model.config)
    )
    curve = []

    def batch_at(step):
        return Batch(sequences(32, np.random.default_rng((seed, 2, step)))[0])

    def measure(progress):
        curve.append({"step": progress.step} | measured(model))

    run = TrainingRun(model, CausalLM(), batch_at, Budget(steps=steps), how, seed)
    measure(run.progress)
    run.train([k / 16 for k in range(1, 17)], measure, bar=False)
    return model, curve


two, two_curve = trained(layers=2)
one, one_curve = trained(layers=1)
for name, curve in (("two layers", two_curve), ("one layer", one_curve)):
    print(f"{name}: {curve[0]['loss']:.2f} → {curve[-1]['loss']:.2f} nats on what repeats")

# %%
picture, (left, right) = panels(1, 2, width=10, height=3.8)
for number, (name, curve) in enumerate((("two layers", two_curve), ("one layer", one_curve))):
    left.plot([p["step"] for p in curve], [p["loss"] for p in curve], color=COLOURS[number], label=name)
for number, name in enumerate(("previous", "induction")):
    right.plot([p["step"] for p in two_curve], [p[name] for p in two_curve], color=COLOURS[number + 2], label=name)
left.set(title="Loss on what repeats (nats)", xlabel="step", ylim=(0, None))
right.set(title="Two layers: score of the best head", xlabel="step", ylim=(0, 1))
for axis in (left, right):
    axis.legend()
picture

# %% [markdown]
# The loss of two layers stays high for more than half of the training and then falls within a few dozen steps, and at that
# moment a head of the second layer begins to attend to what followed last time. Below is the attention of two heads for the
# first row: the dark lines below the diagonal, in the last maps of the second head, are the ability.

# %%
film = {
    f"layer {layer + 1}, {what}": [(p["step"], p["maps"][layer].numpy()) for p in two_curve]
    for layer, what in enumerate(("the place before", "what followed"))
}
attention_film(film, loss=[p["loss"] for p in two_curve])

# %%
if not FAST:
    claim("Two layers end below 0.5 nats on what repeats.", two_curve[-1]["loss"] < 0.5)
    claim("One layer stays above 2 nats.", one_curve[-1]["loss"] > 2)
    claim("A head looks up what followed: a score of 0.3 or more.", two_curve[-1]["induction"] >= 0.3)

# %% [markdown]
# ## Take the cause away  (F36)
# A score that rises together with the ability is no proof. So forbid something and see what is lost: no head of the first
# layer may attend to the place in front of its own, and, as a control, to the fourth place in front.
#
# **Predict first.** The model was never trained without these links. Which of the two will hurt, and how much?
#
# <details><summary>Answer</summary>
#
# The place before: without it, no place knows which symbol stands in front of it. The model is then not merely unsure. The
# second layer still looks for something, finds it in the wrong places, and says the wrong symbol with confidence, so that
# the loss may even exceed that of guessing. The control costs much less.
#
# </details>


# %%
@torch.no_grad()
def loss_without(model, distance):
    """The loss on what repeats if no head of the first layer may attend to the place at this distance in front."""
    t = torch.arange(T)
    allowed = (t[:, None] - t != distance)[None, None]

    def cut(module, given):
        x, _, *rest = given
        return (x, allowed[..., : x.size(1), : x.size(1)], *rest)

    handle = model.encoder.stack.layers[0].attention.register_forward_pre_hook(cut)
    found = measured(model)["loss"]
    handle.remove()
    return found


whole = two_curve[-1]["loss"]
without = {distance: loss_without(two, distance) for distance in (1, 4)}
print(
    f"whole {whole:.2f} · without the place before {without[1]:.2f} · without the fourth place before {without[4]:.2f} nats"
)
if not FAST:
    claim("Without the place before, most of the ability is gone.", without[1] - whole > 1)
    claim("The control costs less than half as much.", without[4] - whole < (without[1] - whole) / 2)

# %% [markdown]
# **What to try.** Forbid the second place before, too: print `loss_without(two, 2)`. · Do the same to the model with one
# layer: print `loss_without(one, 1)`. Does it lose anything?
#
# <details><summary>Answers</summary>
#
# 1. It costs next to nothing. The ability needs one link, and not the neighbourhood.
#
#    ```text
#    0.10 nats
#    ```
# 2. No: a model that has not learned to look anything up does not miss what would be needed for it.
#
#    ```text
#    2.79 nats, whole 2.80
#    ```
#
# </details>
#
# ## The plateau of pretraining  (F25, F36 · D1 §1)
# The second ability is older: a BERT that guesses masked characters of film reviews. A model that sees no other place can
# know only how often each character occurs. Its loss is $H_0 = -\frac1N \sum \log p(c_i)$ for masked characters (a little
# less, because BERT leaves a tenth of the chosen characters as they are). Pretraining goes down to $H_0$ at once and then
# stands still: the *plateau*.
#
# **Predict first.** What does a model have to find before it can leave the plateau?
#
# <details><summary>Answer</summary>
#
# That neighbours matter, and where they are. With a bias that starts at zero, a head attends to all 32 places alike, and
# their mean says nothing about one character. As long as heads do not look next door, nothing can be learned about what
# stands there, and as long as nothing is known about it, there is little reason to look.
#
# </details>

# %%
text = plateau.film_reviews()
held_out = plateau.masked(text.held_out.view(-1, plateau.T)[:256], (0, 1))
alone = plateau.loss_alone(text.learned, held_out)
lengths = {plateau.ZERO: 12 if FAST else 400, plateau.GIVEN: 6 if FAST else 160, plateau.FORBIDDEN: 12 if FAST else 400}


def pretrained(arm, steps):
    """What was measured while this arm was trained: loss, and attention to the neighbours."""
    model, curve = plateau.new_model(arm, seed=0), []

    def measure(progress):
        curve.append({"step": progress.step} | plateau.measured(model, held_out))

    def step_at(step):
        return plateau.loss_at(model, plateau.rows_at(text.learned, (0, 2, step)))

    optimizer = AdamW(parameter_groups(model, 0.01))
    rate = LearningRate(4e-3, 0.05, "constant")
    train(
        model,
        optimizer,
        step_at,
        Budget(steps=steps),
        rate,
        pause_at=[k / 16 for k in range(1, 17)],
        on_pause=measure,
        bar=False,
    )
    return curve


curves = {arm: pretrained(arm, steps) for arm, steps in lengths.items()}
print(f"a model that sees no other place: {alone:.2f} nats")
for arm, curve in curves.items():
    print(f"{arm}: {curve[-1][plateau.LOSS]:.2f} nats after {curve[-1]['step']} steps")

# %%
picture, (left, right) = panels(1, 2, width=10, height=3.8)
for number, (arm, curve) in enumerate(curves.items()):
    at = [p["step"] for p in curve]
    left.plot(at, [p[plateau.LOSS] for p in curve], color=COLOURS[number], label=arm)
    right.plot(at, [max(p[plateau.PREVIOUS], p[plateau.NEXT]) for p in curve], color=COLOURS[number], label=arm)
left.axhline(alone, color=COLOURS[7], ls=":", label="no other place")
left.set(title="Loss of masked characters (nats)", xlabel="step", ylim=(1.8, 3.5))
right.set(title="Attention to a neighbour, best head", xlabel="step", ylim=(-0.03, 1))
left.legend(fontsize=9)
picture

# %%
if not FAST:
    end = {arm: curve[-1][plateau.LOSS] for arm, curve in curves.items()}
    claim("By itself, the model leaves the plateau.", end[plateau.ZERO] < alone - 0.1)
    claim(
        "With heads that look next door from the start, it is far below it after 160 steps.",
        end[plateau.GIVEN] < alone - 0.5,
    )
    claim("If no head may look at two neighbours on either side, it stays there.", end[plateau.FORBIDDEN] > alone - 0.1)

# %% [markdown]
# **What to try.** What does the best head attend to in the first half of the training? Print
# `[round(p[plateau.NEXT], 2) for p in curves[plateau.ZERO]]`. Does it change in one jump?
#
# <details><summary>Answers</summary>
#
# 1. No. It grows slowly from the first steps on, 0.03 being what looking at all 32 places alike gives, while the loss
#    stands still; when the loss begins to fall, a head is a third of the way there. What looks sudden in one figure may be
#    gradual in another.
#
#    ```text
#    [0.03, 0.04, 0.04, 0.04, 0.05, 0.05, 0.06, 0.08, 0.09, 0.11, 0.13, 0.15, 0.18, 0.2, 0.24, 0.26]
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
# 1. The documents give four meanings to one word; only what is measured, with a control, can be discussed.
# 2. Two layers learn to look up what followed last time, and one layer does not, on the same rows.
# 3. The loss falls late and fast, and the score of a head rises at the same moment; that alone is no proof.
# 4. Forbidding a link is: without the place before, the ability is gone; without another place, most of it stays.
# 5. Pretraining stands still until a head has found the neighbours. Give them, and there is no plateau; forbid them, and it stays.
#
# **Where to read on.** Olsson and others (2022), *In-context learning and induction heads*, arXiv:2209.11895 · Chen and
# others (2024), *Sudden drops in the loss*, arXiv:2309.07311 · `minilm emergence induction` and `minilm emergence plateau`
#
# **Exercises.** This notebook has none of its own; with these three you write the heads that it watches.
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `causal_mask` | 10 | easy |
# | `heads` | 30 | medium |
# | `masking` | 30 | medium |
