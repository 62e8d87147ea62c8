"""The adapter of encoder and decoder. Its weights have no names but ours."""

from minilm.models.seq2seq import Seq2Seq, Seq2SeqConfig, Seq2SeqEncoder, learning_rate_scales
from minilm.pretrained.architecture import Architecture


class Seq2SeqArchitecture(Architecture):
    """What `minilm translation` trains. It needs pairs of texts, so `minilm pretrain` does not know it."""

    name, model_type, has_name = "seq2seq", "minilm-seq2seq", False
    config_class, encoder_class, pretraining_class = Seq2SeqConfig, Seq2SeqEncoder, Seq2Seq
    inputs = ("input_ids", "attention_mask")

    def learning_rate_scales(self, config: Seq2SeqConfig, scheme: str) -> dict[str, float]:
        return {} if scheme == "published" else learning_rate_scales(config)


ARCHITECTURE = Seq2SeqArchitecture()
