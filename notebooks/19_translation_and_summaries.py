# %% [markdown]
# # 19 · Translation and summaries
#
# > **Minutes.** 1 to run, about 60 to read and try.
# >
# > **You need** [notebook 04](04_attention.ipynb) for attention and its masks, and
# > [notebook 11](11_language_models.ipynb) for language models. The last sections read strings of JupyterLab, Django and
# > Sphinx (`minilm data` says whether you have them).
# >
# > **Afterwards you can** connect a reader to a writer by cross-attention, train the pair by teacher forcing, see which
# > words belong together, let it copy what need not be translated, and measure a translation.
# >
# > **The documents.** D1 §4.3: “输入序列为一句英语句子，输出序列为对应的中文翻译” (the input is an English sentence, the output its
# > Chinese translation) · D4 §3.4.6: “文本摘要任务将长文本压缩成简短摘要” (summarising shortens a long text) · D0 §3.4:
# > “将源语言文本翻译成目标语言” (translate a text from the source language into the target language)
# >
# > **Words.** [nat, logit and epoch](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F18](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $X$ the target and $M$ the source as vectors, $T$ and $S$ their lengths, $C$ width, $D$ size of a head, $V$
# vocabulary, $g$ gate, $a$ pointer, $\varepsilon$ label smoothing.
#
# A language model continues a text. A translator has to do two things: read one text, and write another. So it has two
# halves, an **encoder** that reads the *source* and a **decoder** that writes the *target*; this notebook builds the
# bridge between them. It translates English dates and numbers into Chinese, a language so small that every answer is
# known, and then looks at real strings.

# %%
import numpy as np
import torch

from minilm import Budget, LearningRate, Optimisation, TrainingRun, initialise
from minilm.examples.seq2seq import Rounds, encode_pairs
from minilm.experiments import translation_rivals as rivals, translation_scores as scores
from minilm.formulas import seq2seq as formulas
from minilm.formulas.cross_entropy import softmax
from minilm.models.seq2seq import Seq2Seq, Seq2SeqConfig, learning_rate_scales
from minilm.text import corpus, grammar
from minilm.text.parallel import learn_tokenizer, split_apart, without_duplicates
from minilm.training.translation import SequenceToSequence, align, translate
from minilm.viz import schematics
from minilm.viz.alignment import alignment_map
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# ## Cross-attention: the target asks, the source answers  (F18 · D1 §4.3)
# You know both halves: the encoder is the Transformer of notebook 07, in which every token may look at every other, and
# the decoder is the causal one, in which a token looks only at what stands before it. New is the layer in the middle.

# %%
schematics.encoder_decoder()

# %% [markdown]
# $$Y = \mathrm{softmax}\!\left(\frac{(X W^Q)(M W^K)^\top}{\sqrt D}\right) M W^V \qquad
# X: [T, C] \quad M: [S, C] \quad Y: [T, D_v]$$
#
# It is the attention of notebook 04; only the places where its three inputs come from have changed. The queries are
# made of the target $X$, because the token that is to be written wants to know something. The keys and values are made
# of the source $M$, because that is where the answer stands. The weights have the shape $[T, S]$: a row for each token
# that is written, a column for each one that was read.

# %%
S, T, C, D = 6, 4, 8, 5
X, M = rng.normal(size=(T, C)), rng.normal(size=(S, C))
W_Q, W_K, W_V = (rng.normal(size=(C, D)) / np.sqrt(C) for _ in range(3))
is_token = np.array([True, True, True, True, False, False])  # the source has four tokens, and two of padding

Z = (X @ W_Q) @ (M @ W_K).T / np.sqrt(D)  # [T, S]
A = softmax(np.where(is_token, Z, -np.inf))
Y = A @ (M @ W_V)
agree("Y", Y, formulas.cross_attention(X, M, W_Q, W_K, W_V, is_token[None]))
print("shape of the weights:", A.shape, "  sums of the rows:", A.sum(axis=1).round(12))

# %% [markdown]
# **Predict first.** Which mask does this layer need: the causal one, that of padding, both, or none?
#
# <details><summary>Answer</summary>
#
# Only that of padding. The whole source is known before the first token of the target is written, so none of its tokens
# lies in the future. A causal mask would hide the end of the source while the beginning of the target is written, and
# in a date the year may stand at the end and is needed first.
#
# </details>
#
# **Wrong, then right.** "The decoder is causal, so I make this layer causal, too." Then the first token of the target
# sees a single token of the source, whatever it asks.

# %%
seen_by = {
    "causal (wrong)": np.tril(np.ones((T, S), dtype=bool)) & is_token,
    "padding alone": np.broadcast_to(is_token, (T, S)),
}
for name, mask in seen_by.items():
    print(f"{name:15}", "tokens of the source that are seen, for each token that is written:", mask.sum(axis=1))

moved = M.copy()
moved[~is_token] += 100
agree("Y with other padding", Y, formulas.cross_attention(X, moved, W_Q, W_K, W_V, is_token[None]))
claim("With a causal mask, the first token sees one token.", seen_by["causal (wrong)"].sum(axis=1)[0] == 1)

# %% [markdown]
# The gradient of the source, $\partial L/\partial M$, is all that the encoder ever hears of a mistake: it has no labels
# of its own. Two paths lead there, one through the keys and one through the values.

# %%
dY = rng.normal(size=Y.shape)
dX, dM, *_ = formulas.cross_attention_gradient(X, M, W_Q, W_K, W_V, is_token[None], dY)
tensors = [torch.tensor(array, requires_grad=True) for array in (X, M)]
q, k, v = tensors[0] @ torch.tensor(W_Q), tensors[1] @ torch.tensor(W_K), tensors[1] @ torch.tensor(W_V)
weights = (q @ k.T / D**0.5).masked_fill(~torch.tensor(is_token), -torch.inf).softmax(-1)
((weights @ v) * torch.tensor(dY)).sum().backward()
agree("∂L/∂X", dX, tensors[0].grad.numpy())
agree("∂L/∂M", dM, tensors[1].grad.numpy())
claim("Padding gets no gradient.", not dM[~is_token].any())

# %% [markdown]
# **What to try.** Hide no token: `is_token = np.ones(S, dtype=bool)`. Make all keys alike, `W_K = 0 * W_K`, before `Z`
# is computed: what does every token of the target get?
#
# <details><summary>Answers</summary>
#
# 1. Without padding, a row of the weights spreads over all six tokens and still sums to 1. (The claims about padding
#    then speak of no token at all, and hold.)
#    ```text
#    padding alone   tokens of the source that are seen, for each token that is written: [6 6 6 6]
#    ```
# 2. Every score is 0, so every token of the target gets the same mean of the values: it can no longer ask for
#    anything.
#    ```text
#    shape of the weights: (4, 6)   sums of the rows: [1. 1. 1. 1.]
#    ```
#
# </details>
#
# **Exercise.** `cross_attention`

# %% [markdown]
# ## Teacher forcing: learning all places at once  (F23 · D1 §4.3)
# The grammar of `minilm.text.grammar` makes as many pairs as we like. A date goes from the day to the year in one
# language and from the year to the day in the other, so nothing can be translated word by word.

# %%
made = [pair for pair in grammar.pairs(1200 if FAST else 9000, seed=0) if "年" in pair[1]]
order = rng.permutation(len(made))
test, learnt = [made[i] for i in order[:200]], [made[i] for i in order[200:]]
tokenizer = learn_tokenizer(learnt, 400)
for source, target in test[:4]:
    print(f"{source:40} {target}")
print(f"{len(learnt):,} pairs to learn from, {len(test)} for the test, V = {tokenizer.size}")

# %% [markdown]
# The loss is that of a language model, given the source $x$:
#
# $$L = -\frac1N \sum_t \log P(y_t \mid x, y_1 \dots y_{t-1})$$
#
# While it is trained, the decoder reads the *true* tokens $y_1 \dots y_{t-1}$, even where it would have written others.
# This is called **teacher forcing**. It is what makes training fast: all places of a text are computed at once, and one
# mistake does not spoil the rest. When the model writes, it has to live with its own tokens.

# %%
steps = 12 if FAST else 420


def trained(copy=True, smoothing=0.0):
    """A small encoder and decoder after so many steps, and what it writes for the test."""
    config = Seq2SeqConfig(tokenizer.size, width=64, layers=2, heads=4, feed_forward=256, dropout=0.0, copy=copy)
    model = Seq2Seq(config)
    initialise(model, generator=torch.Generator().manual_seed(0))
    rounds = Rounds(encode_pairs(learnt, tokenizer, 64), 32, seed=0)
    how = Optimisation(LearningRate(4e-3, warmup=0.1), betas=(0.9, 0.98), scales=learning_rate_scales(config))
    objective = SequenceToSequence(label_smoothing=smoothing)
    run = TrainingRun(model, objective, rounds.__getitem__, Budget(steps=steps), how)
    run.train(bar=False)
    return model.eval(), translate(model, tokenizer, [source for source, _ in test], max_new_tokens=40)


model, written = trained()
right = np.array([one == target for one, (_, target) in zip(written, test)])
for (source, target), one in list(zip(test, written))[:4]:
    print(f"{source:40} {one} {'✓' if one == target else '✗ ' + target}")
print(f"exact match: {right.mean():.3f}")

# %% [markdown]
# **Predict first.** Is one date in a hundred wrong because one token in a hundred is wrong?
#
# <details><summary>Answer</summary>
#
# No. A date of ten tokens is right only if all ten are, so a model that gets 99 of 100 tokens right gets about
# $0.99^{10} = 0.90$ of the dates. That is why the exact match says so much more here than the share of right tokens.
#
# </details>

# %%
length = np.array([len(target) for _, target in test])
groups = [(low, low + 4) for low in range(8, 24, 4)]
shares = [right[(length >= low) & (length < high)].mean() for low, high in groups if (length >= low).any()]
picture, axis = panels(width=7, height=3)
axis.bar([f"{low}–{high - 1}" for low, high in groups][: len(shares)], shares, color=COLOURS[0])
axis.set(title="Exact match by the length of the target", xlabel="characters", ylabel="exact match", ylim=(0, 1.05))
print("exact match by length:", [round(float(share), 2) for share in shares])
picture

# %%
if not FAST:
    claim("Nine dates of ten are right.", right.mean() > 0.9)

# %% [markdown]
# **What to try.** Train for a tenth of the time, `steps = 42`: what does the model know first? Let every token keep a
# little probability while it is trained, `trained(smoothing=0.1)`: does it become better here?
#
# <details><summary>Answers</summary>
#
# 1. The shape of a date: a year, 年, a month, 月, a day, 日. Which digits belong there comes later, when the heads have
#    found the source.
#    ```text
#    26th Oct 2011                            2000年1月2日 ✗ 2011年10月26日
#    exact match: 0.000
#    ```
# 2. Every date of the test is right. There is only one right answer to each, so there is little for smoothing to gain;
#    it helps where several translations are good, and a model that is too sure of one learns less from the others.
#    ```text
#    exact match: 1.000
#    ```
#
# </details>

# %% [markdown]
# ## The alignment: which words belong together  (F18 · D1 §4.3)
# Nobody told the model that "May" belongs to 5月. It had to find out, because the loss falls when the right token of
# the source is looked at. Each row below is a token that is written; the darker a cell, the more of that token of the
# source went into it.

# %%
source = "Sunday, 3 May 1998"
target = translate(model, tokenizer, [source])[0]
source_tokens, target_tokens, layers = align(model, tokenizer, source, target)
heads = np.concatenate(layers)  # [layers · H, T, S]
sharpest = heads[heads.max(axis=2).mean(axis=1).argmax()]  # the head that is surest of where to look
print(source, "→", target)
alignment_map(source_tokens, target_tokens, sharpest, title="the head that is surest of where to look")

# %%
print("looks most at:", [(w, source_tokens[i]) for w, i in zip(target_tokens, sharpest.argmax(axis=1))])
claim("Every row of every head sums to 1.", np.abs(heads.sum(axis=2) - 1).max() < 1e-5)

# %% [markdown]
# (Weights are where a head looks, not what it uses; notebook 05 says what a heat map does not show.)
#
# **What to try.** Put the weekday at the end, `source = "3 May 1998, Sunday"`. Average over all heads instead, `sharpest =
# heads.mean(axis=0)`: is the picture as clear?
#
# <details><summary>Answers</summary>
#
# 1. The year, the month and the day are found as before: the model looks for *what* a token is, not for where it
#    stands.
#    ```text
#    3 May 1998, Sunday → 1998年5月3日星期日
#    ```
# 2. No, it is paler: every head adds what it looks at, and most of them look at several tokens. The translation is the
#    same, because the picture changes nothing in the model.
#    ```text
#    Sunday, 3 May 1998 → 1998年5月3日星期日
#    ```
#
# </details>

# %% [markdown]
# ## Copying what need not be translated  (F23)
# Names, numbers and placeholders are the same in both languages, and some of them never occurred in training. So a
# **copy head** gives the model a second way to a word: it points at a place of the source and takes the token that
# stands there.
#
# $$P(w) = (1 - g)\,\mathrm{softmax}(z)_w + g \sum_{s:\, x_s = w} a_s$$
#
# $z$ are the logits of the vocabulary; the **pointer** $a$ is an attention over the source, whose row sums to 1; and the
# **gate** $g$ between 0 and 1 says how much is copied. All three come from the decoder's last hidden state.
#
# **Predict first.** The word `Zhu` never occurred in training, so its logit is −20. Can the model write it?
#
# <details><summary>Answer</summary>
#
# From the vocabulary, hardly: $e^{-20}$ is about two in a billion. But if it stands in the source and the gate is half
# open, its probability is as large as the pointer says, here 0.45.
#
# </details>

# %%
vocabulary = ["dear", "is", "here", "Zhu"]
z = np.array([[1.0, 0.5, 0.0, -20.0]])
source_ids = np.array([0, 3, 1, 3])  # dear Zhu is Zhu
a, g = np.array([[0.1, 0.6, 0.0, 0.3]]), np.array([0.5])
P = (1 - g)[:, None] * softmax(z)
np.add.at(P.T, source_ids, (g[:, None] * a).T)
agree("P", P, formulas.copy_distribution(z, a, g, source_ids))
print({word: round(float(p), 3) for word, p in zip(vocabulary, P[0])})

# %% [markdown]
# **Wrong, then right.** "`P[:, source_ids] += g * a` says the same, and is shorter." It does not: `Zhu` stands in the
# source twice, and of several additions to one column NumPy keeps only the last.

# %%
shorter = (1 - g)[:, None] * softmax(z)
shorter[:, source_ids] += g[:, None] * a
print("sums of the rows:", shorter.sum(axis=1).round(3), "(wrong)", P.sum(axis=1).round(3), "(right)")
claim("With +=, probability is lost.", shorter.sum() < 0.999)

# %% [markdown]
# **What to try.** Shut the gate, `g = np.array([0.0])`. Open it, `g = np.array([1.0])`: which words can still be written?
#
# <details><summary>Answers</summary>
#
# 1. Nothing is copied: what is left is the softmax, and `Zhu` is as good as impossible.
#    ```text
#    {'dear': 0.506, 'is': 0.307, 'here': 0.186, 'Zhu': 0.0}
#    ```
# 2. Only words of the source are left, in the shares of the pointer, and `here` cannot be written any more.
#    ```text
#    {'dear': 0.1, 'is': 0.0, 'here': 0.0, 'Zhu': 0.9}
#    ```
#
# </details>
#
# **Exercise.** `copy_distribution`

# %% [markdown]
# ## How good is a translation?  (D1 §3.2.5, §5.2)
# D1 names accuracy, precision, recall and F1 as the measures of translation. They need one right answer at each place,
# and a translation has none: a word more, and every place after it is "wrong". So translations are compared by what they
# have in common with one that people wrote: **chrF** counts short runs of characters, and **BLEU** short runs of words.

# %%
said = "打开文件"
for one in ("打开文件", "打开这个文件", "关闭窗口"):
    found = scores.translated([("open the file", said)], [one])
    places = np.mean([a == b for a, b in zip(one, said)])
    print(f"{one:8} accuracy by place {places:.2f}   exact {found['exact match']:.0f}   chrF {found['chrF']:5.1f}")

# %% [markdown]
# Real strings are harder than dates. Here are those of three programs, split so that no string of the test stands, in
# any spelling, among those to learn from. What does a translator have to beat?

# %%
pairs = without_duplicates(pair for name in corpus.PARALLEL for pair in corpus.parallel(name))
known, _, strings = split_apart(pairs, 100, 100 if FAST else 500, seed=0)
sources = [source for source, _ in strings]
table = {"look-up": rivals.look_up(known, sources), "nearest neighbour": rivals.nearest(known, sources)}
for name, out in table.items():
    found = scores.translated(strings, out)
    print(f"{name:18} exact {found['exact match']:.3f}   chrF {found['chrF']:.1f}   BLEU {found['BLEU']:.1f}")
print(sources[0], "·", *(out[0] for out in table.values()), "·", strings[0][1])

# %% [markdown]
# `minilm translation --task strings` trains the model of this notebook on them and prints the whole table; the page of
# the experiments says how much better it is, and what the copy head adds.
#
# **What to try.** Take a better-sounding wrong answer, `said = "关闭窗口"`: is the nearest in characters the nearest in
# meaning?
#
# <details><summary>Answers</summary>
#
# 1. No. It is said to be wrong to open a file where a window is to be closed, and chrF says so only because the two share
#    no character. Had the right answer been 关闭文件, "open the file" would share half of its characters with it, and mean the
#    opposite.
#    ```text
#    打开文件     accuracy by place 0.00   exact 0   chrF   0.0
#    ```
#
# </details>

# %% [markdown]
# ## Summaries are translations into fewer words  (D4 §3.4.6)
# A summary needs nothing new: the source is the article, the target its headline. New is how hard it is to beat
# something simple. Newspapers put the most important thing first, so the first sentence is a summary already. **ROUGE-1**
# is the F1 of the characters that two texts have in common.

# %%
article = "新华社北京一月一日电 今天上午，数千名市民冒着大雪参加了在北京举行的新年长跑。比赛从天安门广场出发。"
headline = "数千市民冒雪参加新年长跑"
lead = rivals.first_sentence([], [article])[0]
for name, one in {"first sentence": lead, "its first 12 characters": lead[:12], "headline itself": headline}.items():
    found = scores.summarised([(article, headline)], [one])
    print(f"{name:24} ROUGE-1 {found['ROUGE-1']:.2f}   ROUGE-2 {found['ROUGE-2']:.2f}")

common = sum(min(lead.count(c), headline.count(c)) for c in set(headline))
letters = len("".join(lead.split()))
precision, recall = common / letters, common / len(headline)
rouge = 2 * precision * recall / (precision + recall)
agree("ROUGE-1", rouge, scores.summarised([(article, headline)], [lead])["ROUGE-1"])

# %% [markdown]
# The first sentence has every character of the headline (a recall of 1) among many others (a low precision).
# `minilm translation --task headlines` measures this on the newspaper.
#
# **What to try.** Cut the dateline off, `lead = lead.split("电 ")[-1]`, below the line that makes it: how far does ROUGE-1
# rise?
#
# <details><summary>Answers</summary>
#
# 1. From 0.48 to 0.60. All twelve characters of the headline are there before and after, so the recall stays at 1; but
#    now they are 12 of 28 characters, and not of 38, so the precision rises.
#    ```text
#    first sentence           ROUGE-1 0.60   ROUGE-2 0.42
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
#
# 1. A translator has two halves: an encoder that reads everything at once, and a decoder that writes token by token.
# 2. Cross-attention connects them: queries from the target, keys and values from the source, and no causal mask.
# 3. Teacher forcing trains all places at once, because the decoder reads the true tokens and not its own.
# 4. A copy head adds the pointer's probability to the vocabulary's, so words that were never seen can be written.
# 5. Translations have no single right answer: measure them by what they share with a person's, and against something
#    simple.
#
# **Where to read on.** Bahdanau, Cho and Bengio (2015), *Neural Machine Translation by Jointly Learning to Align and
# Translate* · Vaswani and others (2017), *Attention Is All You Need*, §3.2.3 · See, Liu and Manning (2017), *Get To The
# Point: Summarization with Pointer-Generator Networks* · Post (2018), *A Call for Clarity in Reporting BLEU Scores*
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---|---|
# | `cross_attention` | 30 | medium |
# | `copy_distribution` | 25 | medium |
