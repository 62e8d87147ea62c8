"""What the five documents are, what each of their programs does, and what is wrong in it.

A program's text is quoted only where a fault has to be shown. `section` names the section of notebook
15 that makes a fault again in a few lines and measures it.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """One thing that is wrong in a program: what stands there, what it does, and what stands there instead now."""

    printed: str
    harm: str
    mended: str
    section: str = ""


class Document(NamedTuple):
    """A document, as far as it says itself what it is, and its program."""

    name: str
    title: str
    author: str
    program: str  # what it does, in two or three sentences
    stops: str  # what happens when somebody starts it
    faults: tuple[Fault, ...]


ZEN = "禅与计算机程序设计艺术 / Zen and the Art of Computer Programming"
BREAKS_OFF = "not named: the text breaks off in {} before any signature"

# sections of notebook 15
IMPORT, LIST = "An import that is gone", "A list that eats itself, and a loss that is None"
TWICE, PADDING = "Shifted twice", "Padding that counts"
CHECKPOINT = "A checkpoint that does not exist, and a dialogue that is a table"
DRIFT, CALLED_O, LENGTH = "Tags that drift", "Padding called O", "Every sentence at full length"
SHAPES = "A program for another task: shapes, and a softmax taken twice"
NO_TASK = "Results for tasks that the data does not have"

UNDEFINED = Fault(
    "`train_texts`, `dev_texts`, `test_texts`",
    "They are defined nowhere, no seed is set, and the model is not saved: nobody can run it again.",
    "The data are files of a named corpus, every run has a seed, and the model is kept.",
)
GONE = Fault(
    "`from transformers import … AdamW`",
    "`ImportError`: the library has removed it.",
    "AdamW of our own, inside `Recipe`.",
    IMPORT,
)
OF_BATCHES = Fault(
    "`epoch_loss / len(dataloader)`",
    "The mean over batches is not the mean over examples if the last batch is smaller.",
    "Losses are means over examples.",
    LIST,
)

D0 = Document(
    "D0",
    "大语言模型原理与工程实践：大语言模型的涌现能力",
    BREAKS_OFF.format("§7.1"),
    "It fine-tunes BERT to tell negative from positive texts: five epochs of batches of 16 with a learning rate of 2e-5. After "
    "each epoch it prints the accuracy on the development part, and at the end that on the test part.",
    "`NameError`: `train_texts` is defined nowhere. With texts of your own it stops at the import of `AdamW`.",
    (
        UNDEFINED,
        GONE,
        Fault(
            "`evaluate` ends with a `print`",
            "It returns nothing, so the development part decides nothing: the last epoch is taken, whatever came before.",
            "`development=…`: the epoch that is best on the development part is kept.",
        ),
        Fault(
            "`padding='max_length'`",
            "Every sentence costs as much as 128 tokens. For sentences about films that is 3.9 times as many tokens as there are.",
            "Batches of sentences of similar length, padded to the longest of them.",
            LENGTH,
        ),
        OF_BATCHES,
        Fault(
            "`label2id`, `id2label`",
            "They are never used. (§5.3 says that they decode “token-wise” predictions; there are none.)",
            "The model keeps the names of its labels.",
        ),
        Fault(
            "§4.3: min over W⁰ and b⁰",
            "The formula trains the head alone, the program trains everything, and §5.4 praises “a simple classifier on top”.",
            "All of θ is trained (F02, F28).",
        ),
        Fault(
            "CoNLL-2003, “二分类” (two classes)",
            "CoNLL-2003 has no labels for texts: there is no such figure to reach. And 0.92 says nothing without a baseline.",
            "Sentences with labels, their number, and the baseline beside the figure.",
            NO_TASK,
        ),
    ),
)
D1 = Document(
    "D1",
    "大语言模型原理与工程实践：大语言模型的涌现能力 (named in its last line alone: the same as D0's)",
    ZEN,
    "It builds Embedding(1000, 64), two LSTMs of 128 and a softmax over 1,000 words, trains them for ten epochs of batches of 64, "
    "and prints the loss and the accuracy on test data. The sizes fit together: 423,400 parameters.",
    "`NameError`: `x_train` is defined nowhere, and Keras 3 no longer takes `input_length`.",
    (
        Fault(
            "`x_train`, `y_train`, `x_test`",
            "They are defined nowhere, and the text does not say what a row of them is. No seed is set and nothing is saved.",
            "Film reviews in windows of 50 tokens, with a seed.",
        ),
        Fault(
            "`LSTM(lstm_units)` as the last of the two",
            "It returns its last state alone: 50 words give one distribution, while §4.2 sums the loss over every t.",
            "Every place of a text predicts the next token, so that each text teaches 50 times as much.",
            SHAPES,
        ),
        Fault(
            "no mask",
            "A text of fewer than 50 words is filled up, and the LSTM reads the filling as words.",
            "Padding is neither read nor counted.",
            SHAPES,
        ),
        Fault(
            "`activation='softmax'`",
            "It is right in Keras. In PyTorch, whose loss takes logits, the softmax would be taken twice.",
            "The model returns logits, and the loss takes the logarithm of the softmax in one step.",
            SHAPES,
        ),
        Fault(
            "`metrics=['accuracy']`, and F1 in §3.2.5",
            "Both say little about a model that writes: several words can be right.",
            "The loss in nats per token comes first; beside it stands what the frequencies alone reach.",
        ),
        Fault("`pip install python …`", "The package of that name is not the language.", "Python is there already."),
    ),
)
D2 = Document(
    "D2",
    "大语言模型应用指南：还原论与涌现性",
    BREAKS_OFF.format("§7.1"),
    "It means to fine-tune GPT-3 on dialogues: five epochs of batches of 16 with a learning rate of 1e-5. It compares the most "
    "likely tokens with the true ones, and prints a report of precision, recall and F1.",
    "The weights of GPT-3 were never published, so `'gpt3'` cannot be loaded. With another name, `NameError`s follow.",
    (
        Fault(
            "`from_pretrained('gpt3')`",
            "There is no such checkpoint.",
            "A small GPT of our own, trained on the conversations.",
            CHECKPOINT,
        ),
        Fault(
            "`.to(device)`, and `device = …` some lines below",
            "`NameError`. `AdamW`, `DataLoader`, `tqdm` and `classification_report` are not imported at all.",
            "The library chooses the device and brings the rest.",
            IMPORT,
        ),
        Fault(
            "`[:, :-1]` and `[:, 1:]`, then `labels=labels`",
            "The program shifts the labels, and the model shifts them again: it learns to guess the word after the next one.",
            "The objective shifts them, once.",
            TWICE,
        ),
        Fault(
            "`padding='max_length'`, and no attention mask",
            "GPT has no padding token, so this raises; with one, 512 places count as labels, most of them padding.",
            "Rows are padded to the longest of their batch, the mask hides it, and its label is −100.",
            PADDING,
        ),
        Fault(
            "`return_tensors='pt'` in `__getitem__`, `argmax(dim=2)`",
            "Batches are [B, 1, T] and logits [B, 1, T, V], so that the largest of T places is looked for, and not of V words.",
            "Batches are [B, T].",
        ),
        Fault(
            "no `generate`",
            "A program for dialogues that never says a word, and learns the questions as well as the answers.",
            "Only the answers count at the end, and five of them are written below.",
        ),
        Fault(
            "CoNLL-2003, “对话” (dialogues), and a table of entity tags",
            "CoNLL-2003 has no dialogues, and a dialogue has no tags. The row O is there twice, eight rows of 2,300 add up to "
            "2,300, and rows of .918, .917 and .918 on average are given as .919.",
            "Conversations of two people; the perplexity of their answers.",
            CHECKPOINT,
        ),
    ),
)
D3 = Document(
    "D3",
    "涌现能力与上下文学习：大模型的关键",
    ZEN,
    "It fine-tunes BERT on three sentences for five epochs, with a learning rate of 2e-5, and prints the loss on them and on two "
    "more after each epoch.",
    "`NameError`: `AdamW` is used in §5.2.3 and imported in §5.2.4, from a library that has removed it.",
    (
        Fault(
            "`AdamW(…)` above its import",
            "`NameError`, and behind it `ImportError`.",
            "AdamW of our own, inside `Recipe`.",
            IMPORT,
        ),
        Fault(
            '`("sentence1", 1)`, … `("sentence5", 1)`',
            "Five placeholders are the whole data. There is no test part, no shuffling and no seed.",
            "Sentences with labels, shuffled with a seed.",
        ),
        Fault(
            "`model(**inputs)`",
            "Without labels the loss is `None`, in training as in evaluation, and `None` has no `item()`.",
            "The objective gets the labels.",
            LIST,
        ),
        Fault(
            "`labels = batch[1]` in the loop of `evaluate`",
            "It overwrites the list `labels`, into which the next line wants to collect.",
            "One name for the batch, and one for what is collected.",
            LIST,
        ),
        Fault(
            "`tokenizer(batch[0], return_tensors='pt')`",
            "Sentences of unequal length do not fit into one tensor: `ValueError`.",
            "Rows are padded, and a mask hides the padding.",
        ),
        Fault(
            "no `no_grad`", "Evaluation keeps everything for gradients that nobody wants.", "`measure` computes none."
        ),
        Fault(
            "five losses that fall in steps of 0.025 to 0.05",
            "This program cannot have printed them: it ends before its first one.",
            "The losses of the run below. They need not fall.",
            LIST,
        ),
    ),
)
D4 = Document(
    "D4",
    "大规模语言模型从理论到实践 大语言模型的发展历程",
    BREAKS_OFF.format("§6.2"),
    "It fine-tunes BERT to give every word one of seven tags: five epochs of batches of 16 with a learning rate of 2e-5. After "
    "each epoch and at the end it prints precision, recall and F1 of every tag.",
    "`NameError`: `train_texts` is defined nowhere. With texts of your own it stops at the import of `AdamW`.",
    (
        UNDEFINED,
        GONE,
        Fault(
            "`self.tokenizer(text, …)`, then `[0]`",
            "If a text is a list of words, as its tags demand, it is read as a batch, and `[0]` keeps its first word.",
            "A line of words is one line.",
        ),
        Fault(
            "the n-th tag for the n-th piece",
            "[CLS] moves all tags by one, and every word that is cut moves the rest further. In film reviews 5 % of the words in "
            "names keep their tag.",
            "Each tag goes to the token of its word, and all other pieces have the label −100.",
            DRIFT,
        ),
        Fault(
            "`[tag2id['O']] * (self.max_len - …)`",
            "Padding is learned and counted as O: a tagger that finds nothing is right in 98 % of all places.",
            "Padding has the label −100 and is not counted.",
            CALLED_O,
        ),
        Fault(
            "`tag2id` without B-MISC and I-MISC",
            "`KeyError` on CoNLL-2003, and yet the printed table has both rows.",
            "The tags are those of the data.",
            CALLED_O,
        ),
        Fault(
            "`classification_report(labels, preds)`",
            "Lists of lists raise a `ValueError`. Tags also flatter: half a name is no name.",
            "The same report over all tags, and the F1 of whole names.",
            CALLED_O,
        ),
        Fault(
            "§4.3.2: CRF and Adam, “minimise F1”",
            "The program has neither. F1 is to be raised, and it has no gradient.",
            "A CRF, whose loss is −log P(y ∣ x) (F31).",
        ),
        Fault(
            "97.5 % in the text, 0.949 in the table",
            "The rows themselves give a micro average of 0.981 with O and 0.922 without it; four F1 do not fit their precision and "
            "recall.",
            "Every average is computed.",
        ),
    ),
)
DOCUMENTS = {document.name: document for document in (D0, D1, D2, D3, D4)}
