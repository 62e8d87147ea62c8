# %% [markdown]
# # 05 · Heads
#
# > **Minutes.** 1 to run, about 55 to read and try.
# >
# > **You need** attention, its masks and its gradient ([notebook 04](04_attention.ipynb)), and a training loop with AdamW
# > ([notebook 01](01_learning_from_data.ipynb)).
# >
# > **Afterwards you can** compute many heads with one product, let one text look at another, trust a faster kernel, and
# > say what a heat map of a head shows and what it does not.
# >
# > **The documents.** D4 §2.1.9:
# > “Transformer通过多头自注意力机制（Multi-Head Self-Attention），解决了传统RNN在处理长距离依赖时的性能问题”
# > (with multi-head self-attention, the Transformer solves the problems that traditional RNNs have with long distances).
# >
# > **Words.** A [nat](GLOSSARY.md#words-that-the-notebooks-use) is the unit of a loss, and a
# > [logit](GLOSSARY.md#words-that-the-notebooks-use) is a score before the softmax; these and D4, F19, `agree`, `claim` and
# > `FAST` are explained in [notebook 01](01_learning_from_data.ipynb).
#
# Letters: $T$ queries (the words that look), $S$ keys (the words that are looked at), $D$ the size of a head, $H$
# heads, $C = H·D$ the width of the model, $B$ sentences in a batch.

# %%
from collections import Counter

import numpy as np
import torch

from minilm.formulas import attention as by_hand
from minilm.layers import attention as library
from minilm.viz import plots, schematics
from minilm.viz.teaching import FAST, agree, claim, panels

torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread
rng = np.random.default_rng(0)


def by_machine(function, arrays, upstream):
    """The gradients that PyTorch finds for the same function."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    return torch.autograd.grad(function(*tensors), tensors, torch.as_tensor(upstream))


# %% [markdown]
# ## Many heads, one product  (F19 · D4 §2.1.9)
# One attention (notebook 04) has one softmax for each word, and one softmax finds one kind of thing at a time: a noun
# that asks for its adjectives cannot ask for its verb as well. So a Transformer has several attentions side by side,
# its **heads**, each with its own questions: one may look next door and another far away. The document names multi-head
# attention (多头自注意力):

# %%
schematics.many_heads()

# %% [markdown]
# In formulas:
#
# $$\mathrm{MultiHead}(X) = \mathrm{Concat}(\mathrm{head}_1, …, \mathrm{head}_H)\,W^O,$$
# $$\mathrm{head}_i = \mathrm{Attention}(XW_i^Q, XW_i^K, XW_i^V),$$
#
# with $W_i^Q, W_i^K, W_i^V\ [C, D]$, $W^O\ [C, C]$ and $C = H·D$. Together they cost as much as one large head. (The
# first Transformer had $H = 8$ heads of the size $D = 64$, BERT has twelve of them.) What is $W^O$ for? Without it, what
# a head has found would stay in the $D$ features of this head. $W^O$ mixes the heads and writes the result where the rest
# of the model can use it.
#
# The formulas have no biases. BERT and GPT-2 add one to each product, many newer models leave them out. The bias of the
# keys has no effect at all: it adds the same number to all scores of a query, and the softmax does not notice.
#
# As printed, these are $3H$ small products. In practice everybody computes one large product, because column block $i$
# of $X\,[W_1 … W_H]$ *is* $XW_i$. In the code below, `@` multiplies the last two axes, and it does so for every index of
# the axes before them: here once for each sentence and head.

# %%
B, T, H, D = 2, 5, 3, 4
C = H * D
X, W_O = rng.normal(size=(B, T, C)), rng.normal(size=(C, C))
W_Q, W_K, W_V = (rng.normal(size=(H, C, D)) / np.sqrt(C) for _ in range(3))
heads = [by_hand.attention(X @ W_Q[i], X @ W_K[i], X @ W_V[i]) for i in range(H)]  # each [B, T, D]
printed = np.concatenate(heads, axis=-1) @ W_O  # [B, T, C]

# %%
W = np.concatenate([np.concatenate(list(W), axis=1) for W in (W_Q, W_K, W_V)], axis=1)  # [C, 3C]: all 3·H side by side
qkv = (X @ W).reshape(B, T, 3, H, D)  # one product, then cut
q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # each [B, H, T, D]: the heads beside the batch
fused = by_hand.attention(q, k, v).transpose(0, 2, 1, 3).reshape(B, T, C) @ W_O  # [B, T, H, D] → [B, T, C]
agree("3·H small products and one large product", printed, fused)
agree("as printed, and minilm.formulas", printed, by_hand.multi_head_attention(X, X, X, W_Q, W_K, W_V, W_O))

layer = library.MultiHeadAttention(C, H).double()
with torch.no_grad():
    layer.to_qkv.weight.copy_(torch.tensor(W.T))  # nn.Linear stores the transpose
    layer.output.weight.copy_(torch.tensor(W_O.T))
    layer.to_qkv.bias.zero_(), layer.output.bias.zero_()
agree("as printed, and minilm.layers", printed, layer(torch.tensor(X))[0])

# %% [markdown]
# The gradients agree as well: the gradients of the small matrices, stacked, are the gradient of the large one. $X$ is
# query, key and value at once, so its three gradients add up.

# %%
dY = rng.normal(size=(B, T, C))
dQ, dK, dV, dW_Q, dW_K, dW_V, dW_O = by_hand.multi_head_attention_gradient(X, X, X, W_Q, W_K, W_V, W_O, None, dY)
bias = np.zeros(3 * C), np.zeros(C)
dX, dW, *_ = by_hand.fused_self_attention_gradient(X, W.T, bias[0], W_O.T, bias[1], H, None, dY)
agree("dX: of the large product, and the sum of three", dX, dQ + dK + dV)
agree("dW: of the large product, and the small ones stacked", dW, by_hand.stack_heads(dW_Q, dW_K, dW_V))
x = torch.tensor(X, requires_grad=True)
theirs = torch.autograd.grad(layer(x)[0], (x, layer.to_qkv.weight), torch.tensor(dY))
agree("dX by hand and by autograd", dX, theirs[0])
agree("dW by hand and by autograd", dW, theirs[1])

# %% [markdown]
# **Wrong, then right.** If you cut $[B, T, C]$ straight into $[B, H, T, D]$ by `reshape`, without the transpose, the
# shape is right and the content is wrong. Then a "head" holds the vectors of a few neighbouring words instead of a
# part of every word, and words in one head never meet words in another.
#
# **Predict first.** If the last word changes, which of the five words notice it in the wrong version?
#
# <details><summary>Answer</summary>
#
# Only the last ones. The five words with three heads make fifteen pieces, and the wrong cut hands the first five pieces
# to head 1, the next five to head 2, and the last five to head 3. The last word has its pieces in head 3 alone.
#
# </details>

# %%
straight = lambda x: x.reshape(B, H, T, D)  # noqa: E731  wrong
large = straight(X @ W[:, :C]), straight(X @ W[:, C : 2 * C]), straight(X @ W[:, 2 * C :])
mixed = by_hand.attention(*large).reshape(B, T, C) @ W_O
moved = X.copy()
moved[:, -1] += 1  # change the last word: which words notice?
large_ = [straight(moved @ W[:, i * C : (i + 1) * C]) for i in range(3)]
reached = np.abs(by_hand.attention(*large_).reshape(B, T, C) @ W_O - mixed).max(axis=(0, 2)) > 1e-9
print("right shape:", mixed.shape == printed.shape, "  largest error:", np.abs(mixed - printed).max().round(1))
print("words that change when the last word changes:", np.flatnonzero(reached), "of", list(range(T)))
claim(
    "The shape is right, and the error is larger than 1.",
    mixed.shape == printed.shape and np.abs(mixed - printed).max() > 1,
)
claim("The first word does not notice the last one.", reached[-1] and not reached[0])

# %% [markdown]
# **What to try.** In a copy of $W^O$, `pruned = W_O.copy()`, set the block that belongs to the first head to zero by
# `pruned[:D] = 0`: how far is `np.concatenate(heads, axis=-1) @ pruned` from `printed`? Count the parameters of
# `library.MultiHeadAttention(C, H)` for $H$ = 1, 3, 12 with the same $C$.
#
# <details><summary>Answers</summary>
#
# 1. Only what the first head contributed is missing. The product with $W^O$ is a sum over the heads, each with its
#    own rows of $W^O$, so a head can be taken away without a change to the others.
#
#    ```text
#    largest difference 4.26, largest entry of printed 7.60
#    ```
# 2. All three have $4C^2 + 4C$ parameters. More heads means smaller heads: the three matrices keep the width $C =
#    H·D$.
#
#    ```text
#    [624, 624, 624]
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start heads`

# %% [markdown]
# ## Two texts: cross-attention  (F19 · D4 §2.1.9)
# Nothing in the formula says that queries, keys and values must come from the same words. Attention was even invented
# for two texts. A translation cannot replace one word after the other, because languages order their words differently.
# So programs read the whole original with one RNN (notebook 08), kept its last state, a single vector of a fixed size,
# and a second RNN wrote the translation from that. The longer the sentence, the less of it fitted in. Bahdanau, Cho and
# Bengio (2015) kept *all* states of the first RNN, as keys and values. Before each word, the second RNN looked at them
# again, with its own last state as the query. Its weights could be read: they showed which words of the original were
# being translated.
#
# The Transformer (2017) kept the attention and dropped the RNNs. Its *encoder* reads the original, its *decoder* writes
# the translation (notebook 19 trains one), and there are three kinds of attention in it:
#
# | attention | queries from | keys and values from | mask | who uses it |
# |---|---|---|---|---|
# | in the encoder | the original | the original | padding | BERT |
# | in the decoder | the words written so far | the words written so far | padding and future | GPT |
# | between them (**cross**) | the words written so far | the original | padding of the original | translation |
#
# So a block of the decoder has three parts where one of the encoder has two: attention to the words so far, attention
# to what the last block of the encoder made of the original, and a feed-forward network (notebook 07). Here a
# translation of $T$ words looks at an original of $S$ words, with the same matrices as above:

# %%
draw = np.random.default_rng(5)
S = 7
original = draw.normal(size=(B, S, C))
crossed = by_hand.multi_head_attention(X, original, original, W_Q, W_K, W_V, W_O)  # [B, T, C]
theirs, weights = layer(torch.tensor(X), memory=torch.tensor(original), need_weights=True)
agree("cross-attention, minilm.formulas and minilm.layers", crossed, theirs)
print("X", list(X.shape), " original", list(original.shape), " weights [B, H, T, S]", list(weights.shape))
print("first word of the translation:", crossed[0, 0, :4].round(3), "…")

# %% [markdown]
# **Word by word.** In training, the whole translation is there: one pass with the causal mask predicts the next word at
# all places at once. In use, a decoder writes one word after the other. With the causal mask, earlier words never look at
# later ones, so their keys and values stay what they are. A program keeps them (this is called a *key–value cache*), and
# for each new word it computes one query, one key and one value instead of doing everything again. (Notebook 17 writes
# with such a cache.)
#
# The price is memory: $2·T·C$ numbers for each layer and text. Newer models therefore let several heads share their keys
# and values (*grouped-query attention*, Ainslie and others, 2023), or in some layers they let a word look only at the
# nearest words before it (a *sliding window*, Beltagy, Peters and Cohan, 2020), which is one mask more.

# %%
cache, written = library.KVCache(), []
for t in range(T):
    new_word = torch.tensor(X[:, t : t + 1])  # [B, 1, C]
    written.append(layer(new_word, cache=cache)[0])
at_once = layer(torch.tensor(X), is_causal=True)[0]
agree("word by word, and all at once with the causal mask", torch.cat(written, dim=1), at_once)
print("the cache holds the keys of all words [B, H, T, D]:", list(cache.keys[:, :, : len(cache)].shape))

# %% [markdown]
# **What to try.** Turn the original round, `original = original[:, ::-1].copy()` below its line: what becomes of the
# first word of the translation, and why?
#
# <details><summary>Answers</summary>
#
# 1. Nothing. A key moves together with its value, and a sum does not depend on the order of its terms.
#    Cross-attention, too, does not know the order of the words; notebook 06 is about that.
#
#    ```text
#    first word of the translation: [-0.055 -0.589  0.595  3.059] …
#    ```
#
# </details>

# %% [markdown]
# ## The same numbers from a faster kernel  (F18 · D4 §2.1.5)
# The readable function stores $[B, H, T, S]$ weights. For twelve heads on a text of 4096 words, that is 805 MB in
# single precision, for one layer of one text. PyTorch's kernel goes through the keys in blocks and never stores the
# weights. In `minilm/layers/attention.py` it is called `fused_attention`, and the layer uses it whenever you do not
# ask for the weights. It is equal in value *and* gradient, even for a query that sees nothing.

# %%
T, S = 5, 7
q, k, v, dY = (rng.normal(size=(2, 3, n, 4)) for n in (T, S, S, T))
may = torch.tensor(rng.random((2, 1, T, S)) < 0.5)
may[1, 0, T // 2] = False
readable = lambda *x: library.attention(*x, may)[0]  # noqa: E731
kernel = lambda *x: library.fused_attention(*x, may)  # noqa: E731
tensors = [torch.tensor(a) for a in (q, k, v)]
agree("readable and kernel", readable(*tensors), kernel(*tensors))
for name, ours, theirs in zip("QKV", by_machine(readable, (q, k, v), dY), by_machine(kernel, (q, k, v), dY)):
    agree(f"d{name}, readable and kernel", ours, theirs)
claim("Twelve heads, 4096 words and four bytes per weight make 805 MB.", round(12 * 4096**2 * 4 / 1e6) == 805)

# %% [markdown]
# **Wrong, then right.** "They differ in the seventh digit, so one of them is wrong." In single precision two right
# answers can differ, because sums are taken in a different order. Compute both again in double precision: rounding
# shrinks by nine digits, while a bug stays where it was.

# %%
single = [tensor.float() for tensor in tensors]
apart = [(readable(*x) - kernel(*x)).abs().max().item() for x in (single, tensors)]
print(f"readable and kernel differ by {apart[0]:.0e} in single precision, by {apart[1]:.0e} in double")
claim("In double precision hardly anything is left of the difference.", apart[0] < 1e-5 and apart[1] < 1e-13)

# %% [markdown]
# **What to try.** Set `T, S` to `64, 64` and to `2048, 2048`, and time both functions in a new cell,
# `%timeit readable(*tensors)` and `%timeit kernel(*tensors)`. Set `layer.fused = False` and time
# `layer(torch.tensor(X))` before and after: what does the layer use now?
#
# <details><summary>Answers</summary>
#
# 1. The results stay equal. At 64 words both take a fraction of a millisecond. At 2048 the readable function has to
#    write and read weights of 2 · 3 · 2048² · 8 bytes, 201 MB, and the kernel needs about a fifth of its time (one
#    core of a server).
#
#    ```text
#    readable and kernel differ by 2e-06 in single precision, by 3e-15 in double
#    ```
# 2. From then on the layer calls the readable function, which it also does whenever you ask for the weights. At five
#    words you will hardly see it; what differs is time and memory, not the result.
#
# </details>

# %% [markdown]
# ## Looking at real attention  (F18, F19 · D4 §2.1.9)
# Now we train a model on real text: 8,530 sentences about films, which `minilm.text.corpus` reads from a package. The
# model has one block with four heads. We use the first 24 words of each sentence and a vocabulary of the commonest
# words, 2,000 in all with five special tokens (every other word is `[UNK]`).

# %%
from minilm import AdamW, BertForPretraining, TransformerConfig, cross_entropy, initialise
from minilm.examples.masked_lm import mask_tokens
from minilm.text.corpus import labelled
from minilm.training.optimizer import parameter_groups

sentences = [example.text.split() for example in labelled("rotten-tomatoes")]
claim("There are 8,530 sentences.", len(sentences) == 8530)
common = [word for word, _ in Counter(word for words in sentences for word in words).most_common(1995)]
names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *common]
number = {name: i for i, name in enumerate(names)}
T, V = 24, len(names)
ids = torch.zeros(len(sentences), T, dtype=torch.long)  # 0 is [PAD]
for i, words in enumerate(sentences):
    ids[i, : len(words)] = torch.tensor([number.get(word, 1) for word in words[:T]])
train, held_out = ids[500:], ids[:500][(ids[:500] != 0).all(dim=1)]  # held out: sentences that fill all 24 places

# %% [markdown]
# First we look at the attention of a model that has learned nothing, from two kinds of start. One is the usual random
# weights (`fan-in`). The other is a start that this project *builds* (`neighbours`,
# `minilm/models/initialisation.py`): two heads of the first layer begin by looking one word to the left and one word
# to the right, and the others look at words like their own. So we know beforehand what such a map should look like,
# and we can test how we read it.


# %%
def model_from(scheme):
    model = BertForPretraining(TransformerConfig(V, width=64, layers=1, heads=4, feed_forward=128, max_length=T))
    initialise(model, scheme, torch.Generator().manual_seed(0))
    return model


def maps(model, ids):
    with torch.no_grad():
        return model.encoder(ids, None, ids != 0, need_weights=True).attentions[0].numpy()  # [B, H, T, T]


words = "the plot is thin , but the cast is a delight .".split()[:T]
sentence = torch.tensor([[number.get(word, 1) for word in words]])  # 1 is [UNK]
built = maps(model_from("neighbours"), sentence)[0]  # [H, T, T]
left, right = built[0].diagonal(-1).mean(), built[1].diagonal(1).mean()
print(f"head 1 gives {left:.0%} to the word on its left, head 2 gives {right:.0%} to the word on its right")

# %%
plots.attention_maps(words, [built], title="Built, not learned: two heads look left and right, two at similar words")

# %%
claim("Heads 1 and 2 give more than 60 % to the neighbours that they were built for.", left > 0.6 and right > 0.6)

# %% [markdown]
# The map looks as it was built: heads 1 and 2 show a stripe beside the diagonal, and in heads 3 and 4 the second *the*
# and the second *is* look at the first.
#
# Next come two models that **learn**, both from `fan-in`. One gets a task that only attention can do: *name the word
# on your left*. The other gets masked words, BERT's own task (notebook 12), where many things help a little. We watch
# two values: the loss, and the weight on the word to the left, in the head that looks left the most.
#
# **Predict first.** How much weight will the best head give to the word on the left after 300 steps, in each of the two
# models?
#
# <details><summary>Answer</summary>
#
# Nearly all of it where the word on the left is the answer. About $1/24$, an equal share, where words are masked: there
# the word on the left helps only a little, and 300 steps are too few to find that out.
#
# </details>


# %%
def word_on_the_left(batch, draw):
    labels = torch.full_like(batch, -100)  # −100: this label does not count
    labels[:, 1:] = batch[:, :-1]
    return batch, labels.masked_fill(batch == 0, -100)


def masked_words(batch, draw):
    return mask_tokens(batch, [0, 1, 2, 3, 4], mask_id=4, vocab_size=V, generator=draw, mask_rate=0.15)


def looks_left(model):
    """Mean weight on the word to the left, over held-out sentences, of the head where it is largest."""
    return maps(model, held_out).diagonal(-1, 2, 3).mean(axis=(0, 2)).max()  # [B, H, T, T] → [B, H, T − 1] → [H] → 1


# %%
def learn(model, task, steps):
    draw, history = torch.Generator().manual_seed(1), []
    optimizer = AdamW(parameter_groups(model, weight_decay=0.01))
    for step in range(steps):
        batch = train[torch.randint(len(train), (32,), generator=draw)]
        shown, labels = task(batch, draw)
        wanted = (labels.flatten() != -100).nonzero().flatten()
        logits = model(shown, None, batch != 0, wanted).mlm_logits
        loss = cross_entropy(logits, labels.flatten()[wanted]).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(5e-3 * min(1, step / 50) * (1 - step / steps))  # warm-up, then linearly down to 0
        if step % 10 == 0:
            history.append((step, loss.item(), looks_left(model)))
    return np.array(history)


left_model, masked_model = model_from("fan-in"), model_from("fan-in")
steps = 20 if FAST else 300
histories = {
    "word on the left": learn(left_model, word_on_the_left, steps),
    "masked words": learn(masked_model, masked_words, steps),
}

# %%
picture, axes = panels(1, 2)
for (name, history), colour in zip(histories.items(), plots.COLOURS):
    axes[0].plot(history[:, 0], history[:, 1], color=colour, label=name)
    axes[1].plot(history[:, 0], history[:, 2], color=colour, label=name)
axes[0].set(title="Loss (nats: natural logarithms)", xlabel="step", ylim=(0, None))
axes[1].set(title="Weight on the word to the left", xlabel="step", ylim=(0, 1))
axes[0].legend()
picture

# %%
left, masked = histories["word on the left"], histories["masked words"]
print(
    f"weight on the word to the left: {left[0, 2]:.2f} at first, {left[-1, 2]:.2f} at the end; masked words: {masked[-1, 2]:.2f}"
)
if not FAST:
    claim(
        "The first model begins without looking left and ends with more than 90 %.",
        left[0, 2] < 0.1 and left[-1, 2] > 0.9,
    )
    claim("The model of masked words does not look left.", masked[-1, 2] < 0.1)
    looks = left[:, 2] > 0.5  # more than elsewhere
    jump = looks.argmax()  # the first time
    fallen = left[max(0, jump - 5), 1] - left[min(len(left) - 1, jump + 5), 1]
    claim("The loss falls by more than 1.5 nats in the hundred steps around that jump.", looks.any() and fallen > 1.5)

# %%
plots.attention_maps(words, [maps(left_model, sentence)[0]], title="Learned: name the word on the left")

# %% [markdown]
# The loss waits on a plateau while all heads look everywhere, and it falls when they find the word on the left: what
# a head *looks at* and what the model *can do* change together. A heat map can hardly come closer to an explanation,
# because here nothing but attention could have solved the task. (The first word has no left neighbour; its row means
# nothing.)
#
# Masked words, in as many steps, produce no stripe: the word on the left still gets about one part in 24, its share if
# every word got the same weight. You could tell any story about such a map; resist the temptation. This is also why
# this project builds a start: heads that must first find the neighbours learn little else in the meantime. The command
# `minilm bench initialisation` measures this over minutes instead of seconds.
#
# **Wrong, then right.** A large weight is not the same as a large effect, because what arrives is weight
# times *value*. Take the values away and keep the weights: the map stays as it was, but the right answers are gone.
# Read maps together with an intervention like this one.
#
# **Predict first.** All values become 0, queries and keys stay. What happens to the map, and what to the right answers?
#
# <details><summary>Answer</summary>
#
# The map does not change in the last bit, because weights are made of queries and keys alone. The right answers are gone,
# because nothing is handed over any more.
#
# </details>


# %%
def right_answers(model):
    shown, labels = word_on_the_left(held_out, None)
    with torch.no_grad():
        logits = model(shown).mlm_logits  # [B, T, V]
    return (logits.argmax(dim=-1) == labels)[:, 1:].float().mean().item()


before, map_before = right_answers(left_model), maps(left_model, sentence)
with torch.no_grad():
    W_qkv = left_model.encoder.stack.layers[0].attention.to_qkv.weight
    W_qkv[len(W_qkv) * 2 // 3 :] = 0  # the last third is W^V: no value is handed over any more
after, map_after = right_answers(left_model), maps(left_model, sentence)
agree("the map before and after the change", map_before, map_after)
print(f"right answers: {before:.0%} before, {after:.0%} after")
if not FAST:
    claim("Without values, most of the right answers are gone.", before > 0.8 and after < 0.2)

# %% [markdown]
# **What to try.** Change the task to "the word two places to the left", `labels[:, 2:] = batch[:, :-2]`, or to "the
# first word", `labels[:, 1:] = batch[:, :1]`. Take the positions away, with the line
# `left_model.encoder.embeddings.positions.weight.requires_grad_(False).zero_()` before training: what does the loss do,
# and why? Train for masked words ten times as long, `10 * steps`.
#
# <details><summary>Answers</summary>
#
# 1. Both are learned, as the right answers before the last change show. Our measure looks one place to the left, so
#    it sees nothing of either: what a measure does not look for, it does not find. Look at the map instead.
#
#    ```text
#    weight on the word to the left: 0.04 at first, 0.02 at the end; masked words: 0.04
#    right answers: 91% before, 7% after
#    weight on the word to the left: 0.04 at first, 0.04 at the end; masked words: 0.04
#    right answers: 92% before, 6% after
#    ```
# 2. It gets stuck: about a quarter of the answers is right, where it was 97 %. Without positions no head can find
#    out which word is the one on the left, because the same words in any other order get the same answers.
#
#    ```text
#    weight on the word to the left: 0.04 at first, 0.07 at the end; masked words: 0.04
#    right answers: 26% before, 20% after
#    ```
# 3. Now one of its heads does look to the left. The word before a masked word is a help after all, but it is one
#    among many, and it takes the model ten times as long to find it. That is why a start with such heads saves time.
#
#    ```text
#    weight on the word to the left: 0.04 at first, 0.97 at the end; masked words: 0.57
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
#
# 1. A Transformer has several attentions side by side; each head has its own queries, keys and values, of size D = C/H.
# 2. All heads are computed by one large product that is cut afterwards: reshape, then transpose, never reshape alone.
# 3. In cross-attention the queries come from one text, the keys and values from another; the formula is the same.
# 4. A faster kernel never stores the weights; it gives the same numbers up to rounding, which shrinks in double
#    precision.
# 5. A large weight is not a large effect, because weight times value is what arrives: read heat maps together with an
#    intervention.
#
# **Where to read on.**
#
# * Vaswani and others, 2017, *Attention Is All You Need*, §3.2.2 and §3.2.3 (arXiv:1706.03762)
# * Dao, Fu, Ermon, Rudra and Ré, 2022, *FlashAttention*: how the faster kernel goes through the keys in blocks
#   (arXiv:2205.14135)
# * Ainslie, Lee-Thorp, de Jong and others, 2023, *GQA*: heads that share their keys and values (arXiv:2305.13245)
# * Clark, Khandelwal, Levy and Manning, 2019, *What Does BERT Look At?* (arXiv:1906.04341)
# * Jain and Wallace, 2019, *Attention is not Explanation* (arXiv:1902.10186), and the reply, Wiegreffe and Pinter,
#   2019, *Attention is not not Explanation* (arXiv:1908.04626)
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---|---|
# | `heads` | 30 | medium |
