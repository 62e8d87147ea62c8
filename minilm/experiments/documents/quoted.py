r"""Every formula as the documents print it, and their errors of fact, each with its place.

`notebooks/index.py` writes them into INDEX.md. A formula is quoted in LaTeX, as it is printed, with its mistakes.
"""

from typing import NamedTuple

BINARY = r"-[y\log \hat{y} + (1-y)\log (1-\hat{y})]"
MEAN = r"\mathcal{L}(\theta) = -\frac{1}{N}\sum_{i=1}^N [y_i\log M_{\theta}(x_i)+(1-y_i)\log(1-M_{\theta}(x_i))]"
SLOPE = (
    r"\frac{\partial \mathcal{L}(\theta)}{\partial \theta_k} = -\frac{1}{N}\sum_{i=1}^N "
    r"(\frac{y_i}{M_{\theta}(x_i)}-\frac{1-y_i}{1-M_{\theta}(x_i)}) \frac{\partial M_{\theta}(x_i)}{\partial \theta_k}"
)
ZERO = r"\sum_{t=1}^{T} \sum_{i=1}^{V} (y_t(i) - y_t(i))"

QUOTED: dict[str, dict[str, str]] = {  # formula → place → LaTeX
    "F01": {"D0 §4.1": r"\mathcal{L}(\theta) = \frac{1}{N} \sum_{i=1}^N \ell(y_i, P(y|x_i; \theta))"},
    "F02": {
        "D0 §4.1": r"\theta^* = \mathop{\arg\min}_{\theta} \mathcal{L}(\theta)",
        "D4 §4.1.1": r"\hat{\theta}=\mathop{\arg\min}_{\theta} \mathcal{L}(M_{\theta},D)",
    },
    "F03": {"D0 §4.1": r"\theta \leftarrow \theta - \eta \nabla_{\theta}\mathcal{L}(\theta)"},
    "F04": {"D0 §4.2, D4 §4.2.1": r"\ell(M_{\theta}(x),y) = " + BINARY},
    "F05": {"D0 §4.2, D4 §4.2.1": MEAN},
    "F06": {"D0 §4.2, D4 §4.2.2": SLOPE},
    "F07": {"D0 §4.3": r"\text{logits} = \text{BERT}(x)W^0 + b^0"},
    "F08": {"D0 §4.3": r"\min_{W^0, b^0} H(y, \text{softmax}(\text{logits}))"},
    "F09": {"D1 §4.1": r"h_t = \sigma(W_h h_{t-1} + W_x x_t + b_h)"},
    "F10": {"D1 §4.1": r"y_t = \sigma(W_y h_t + b_y)"},
    "F11": {"D1 §4.2": r"L = -\sum_{t=1}^{T} \sum_{i=1}^{V} y_t(i) \log(y_t(i))"},
    "F12": {"D1 §4.2": r"\frac{\partial L}{\partial W_h} = " + ZERO + " h_{t-1}"},
    "F13": {"D1 §4.2": r"\frac{\partial L}{\partial W_x} = " + ZERO + " x_t"},
    "F14": {"D1 §4.2": r"\frac{\partial L}{\partial b_h} = " + ZERO},
    "F23": {"D3 §4.1.1": r"P(w_1, w_2, ..., w_n) = \prod_{i=1}^n P(w_i|w_{i-1}, w_{i-2}, ..., w_1)"},
    "F24": {"D3 §4.1.2": r"P(x_1, x_2, ..., x_m|y) = \prod_{i=1}^m P(x_i|x_{i-1}, x_{i-2}, ..., x_1, y)"},
    "F25": {"D3 §4.2.1": r"\max_{w_i} P(w_i|M(w_{1:i-1}))"},
    "F26": {"D3 §4.2.2": r"\max_{y} P(y|w_A, w_B)"},
    "F27": {"D2 §4.2.1": r"\min_{\theta} \frac{1}{N}\sum_{i=1}^N \ell(h(x_i); \theta)"},
    "F28": {"D2 §4.2.2": r"\min_{\theta} \frac{1}{N}\sum_{i=1}^N \ell(h_{task}(x_i), y_i)"},
    "F29": {"D2 §4.2.3": r"\min_{\theta} \frac{1}{M}\sum_{m=1}^M \ell(h_{new}(o_m); \theta)"},
    "F37": {"D2 §4.1": r"L(x; \theta)"},
}
SAID: dict[str, dict[str, str]] = {  # what is wrong in words, or as a figure: formula → place → the words
    "F30": {"D4 §5.4": "97.5%的F1分数"},
    "F31": {"D4 §4.3.2.3": "最小化F1分数"},
    "F37": {"D2 §4.1": "最小化语言模型的似然函数"},
}


class Error(NamedTuple):
    """An error of fact: where it stands, what the document says, and what is so."""

    where: str
    said: str
    so: str


ERRORS = (
    Error(
        "D1 §3.1",
        "the core of large language models is the recurrent network",
        "it is the Transformer; GPT and BERT have no recurrence",
    ),
    Error(
        "D1 §3.1",
        "the gates of LSTM and GRU avoid vanishing and exploding gradients",
        "they help against vanishing; clipping helps against exploding",
    ),
    Error(
        "D1 appendix",
        "more layers help against vanishing gradients",
        "more layers make the way of the gradient longer, and it vanishes sooner",
    ),
    Error(
        "D1 §3.2.5",
        "accuracy, recall and F1 for writing and translation",
        "perplexity, BLEU, chrF, ROUGE: many texts are right",
    ),
    Error("D1 §8.3", "dropout in recurrent networks: Xu et al., 2015", "Gal and Ghahramani"),
    Error(
        "D2 §4.3.1",
        "GPT-3 was pretrained on dialogues and then fine-tuned",
        "it was pretrained on web pages and books, and used without fine-tuning",
    ),
    Error(
        "D2 §4.3.2",
        "CLIP learns a language model's likelihood without labels",
        "it learns from pairs of pictures and texts, by comparing them (F35)",
    ),
    Error("D3 §1.1", "BERT and GPT-3 have learned knowledge of pictures", "they have only read text"),
    Error(
        "D3 §7.1",
        "自然语言处理综论 is by Thierry Moreau and others",
        "Jurafsky and Martin wrote it (Speech and Language Processing)",
    ),
    Error("D3 §7.3", "adapters add no parameters", "they add some and train only these (F32)"),
    Error(
        "D3 §7.3",
        "AdaLoRA: Adaptive Low-Rank Adaptation …",
        "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning",
    ),
    Error(
        "D0 §2.2.1, D3 §7.3",
        "prompts change no parameters; prompts are continuous",
        "both exist: words in the text, or vectors that are trained (F33)",
    ),
    Error(
        "D4 §1.1.1",
        "neural language models date from the 1990s",
        "as they are known, they begin with Bengio and others, 2000 and 2003",
    ),
    Error(
        "D4 §1.1",
        "who found the perceptron, convolution and recurrence, and when",
        "see the checked table of notebook 15",
    ),
    Error("D4 §1.1.2", "GPT-2 came in 2018", "in February 2019; June 2018 was GPT"),
    Error("D4 §2.1.1", "billions of parameters, for instance BERT", "BERT has 0.11, its large form 0.34 billion"),
    Error("D4 §2.2", "self-attention is a task of pretraining", "it is a part of the Transformer"),
    Error(
        "D4 §3.1",
        "large models pretrain by masked words and next sentence",
        "BERT does; GPT learns the next word, and T5 restores spans",
    ),
)
