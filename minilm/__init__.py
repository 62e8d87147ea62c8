"""A small Transformer language model, written by hand from its formulas, that trains on a laptop.

The names below are the front door: `from minilm import Tokenizer, pretrain`. Each one is loaded when it is first used
(PEP 562), so that `import minilm` alone takes no time and does not load PyTorch.
"""

import difflib
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as in MODULE_OF, for type checkers and editors
    from minilm.errors import InputError as InputError
    from minilm.examples.batching import Batch as Batch, Dataset as Dataset
    from minilm.experiments.quickstart import QuickstartOptions as QuickstartOptions, quickstart as quickstart
    from minilm.jobs.evaluate import evaluate as evaluate
    from minilm.jobs.finetune import finetune as finetune
    from minilm.jobs.finetune_options import FinetuneOptions as FinetuneOptions
    from minilm.jobs.predict import fill_mask as fill_mask, predict as predict
    from minilm.jobs.pretrain import PretrainOptions as PretrainOptions, pretrain as pretrain
    from minilm.jobs.prompt import PromptOptions as PromptOptions, prompt as prompt
    from minilm.layers.attention import MultiHeadAttention as MultiHeadAttention
    from minilm.layers.low_rank import LowRankLinear as LowRankLinear
    from minilm.layers.transformer import TransformerBlock as TransformerBlock, TransformerStack as TransformerStack
    from minilm.models.adaptation import Adaptation as Adaptation, adapt as adapt, merge as merge
    from minilm.models.bert import Bert as Bert, BertForPretraining as BertForPretraining
    from minilm.models.config import TransformerConfig as TransformerConfig
    from minilm.models.generation import beam_search as beam_search, generate as generate
    from minilm.models.gpt import GPT as GPT, GPTConfig as GPTConfig, GPTEncoder as GPTEncoder
    from minilm.models.heads import (
        Classifier as Classifier,
        TextHeadConfig as TextHeadConfig,
        TokenHeadConfig as TokenHeadConfig,
    )
    from minilm.models.initialisation import initialise as initialise, warm_start as warm_start
    from minilm.models.lstm import (
        LSTMConfig as LSTMConfig,
        LSTMEncoder as LSTMEncoder,
        LSTMLanguageModel as LSTMLanguageModel,
    )
    from minilm.models.sampling import sample as sample, sampling_probabilities as sampling_probabilities
    from minilm.models.sentence_encoder import SentenceEncoder as SentenceEncoder
    from minilm.models.seq2seq import Seq2Seq as Seq2Seq, Seq2SeqConfig as Seq2SeqConfig
    from minilm.pretrained.protocol import open_model as open_model, save_model as save_model
    from minilm.text.tokenizer import Tokenizer as Tokenizer
    from minilm.training.loop import LearningRate as LearningRate
    from minilm.training.losses import cross_entropy as cross_entropy
    from minilm.training.objectives import BertPretraining as BertPretraining, CausalLM as CausalLM
    from minilm.training.optimizer import AdamW as AdamW
    from minilm.training.run import Optimisation as Optimisation, TrainingRun as TrainingRun
    from minilm.training.schedule import Budget as Budget
    from minilm.training.text_tasks import TextTask as TextTask
    from minilm.training.translation import translate as translate
    from minilm.training.word_tasks import TokenTask as TokenTask
    from minilm.training.writing import write as write

__version__ = "0.1.0"

MODULE_OF = {  # public name: the module that defines it, from the bottom of the house to the top
    "InputError": "minilm.errors",
    "Tokenizer": "minilm.text.tokenizer",
    "Batch": "minilm.examples.batching",
    "Dataset": "minilm.examples.batching",
    "MultiHeadAttention": "minilm.layers.attention",
    "TransformerBlock": "minilm.layers.transformer",
    "TransformerStack": "minilm.layers.transformer",
    "LowRankLinear": "minilm.layers.low_rank",
    "TransformerConfig": "minilm.models.config",
    "Adaptation": "minilm.models.adaptation",
    "adapt": "minilm.models.adaptation",
    "merge": "minilm.models.adaptation",
    "Bert": "minilm.models.bert",
    "BertForPretraining": "minilm.models.bert",
    "Classifier": "minilm.models.heads",
    "TextHeadConfig": "minilm.models.heads",
    "TokenHeadConfig": "minilm.models.heads",
    "LSTMConfig": "minilm.models.lstm",
    "LSTMEncoder": "minilm.models.lstm",
    "LSTMLanguageModel": "minilm.models.lstm",
    "GPTConfig": "minilm.models.gpt",
    "GPTEncoder": "minilm.models.gpt",
    "GPT": "minilm.models.gpt",
    "generate": "minilm.models.generation",
    "beam_search": "minilm.models.generation",
    "Seq2SeqConfig": "minilm.models.seq2seq",
    "Seq2Seq": "minilm.models.seq2seq",
    "SentenceEncoder": "minilm.models.sentence_encoder",
    "initialise": "minilm.models.initialisation",
    "warm_start": "minilm.models.initialisation",
    "sample": "minilm.models.sampling",
    "sampling_probabilities": "minilm.models.sampling",
    "open_model": "minilm.pretrained.protocol",
    "save_model": "minilm.pretrained.protocol",
    "AdamW": "minilm.training.optimizer",
    "cross_entropy": "minilm.training.losses",
    "Budget": "minilm.training.schedule",
    "LearningRate": "minilm.training.loop",
    "BertPretraining": "minilm.training.objectives",
    "CausalLM": "minilm.training.objectives",
    "Optimisation": "minilm.training.run",
    "TrainingRun": "minilm.training.run",
    "TextTask": "minilm.training.text_tasks",
    "TokenTask": "minilm.training.word_tasks",
    "translate": "minilm.training.translation",
    "write": "minilm.training.writing",
    "pretrain": "minilm.jobs.pretrain",
    "PretrainOptions": "minilm.jobs.pretrain",
    "finetune": "minilm.jobs.finetune",
    "FinetuneOptions": "minilm.jobs.finetune_options",
    "evaluate": "minilm.jobs.evaluate",
    "prompt": "minilm.jobs.prompt",
    "PromptOptions": "minilm.jobs.prompt",
    "predict": "minilm.jobs.predict",
    "fill_mask": "minilm.jobs.predict",
    "quickstart": "minilm.experiments.quickstart",
    "QuickstartOptions": "minilm.experiments.quickstart",
}


if not TYPE_CHECKING:  # a type checker shall see the imports above alone, so that it reports a wrong name

    def __getattr__(name: str) -> Any:
        if name in MODULE_OF:
            value = getattr(importlib.import_module(MODULE_OF[name]), name)
            globals()[name] = value  # from now on Python finds it without this function
            return value
        near = difflib.get_close_matches(name, MODULE_OF, 1, cutoff=0.7)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise AttributeError(f"module 'minilm' has no attribute {name!r}{hint}", name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *MODULE_OF})
