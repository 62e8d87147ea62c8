"""The LSTM's adapter. Its weights have no names but ours."""

from minilm.errors import InputError
from minilm.models.lstm import LSTMConfig, LSTMEncoder, LSTMLanguageModel
from minilm.pretrained.architecture import Architecture


class LSTMArchitecture(Architecture):
    """The documents' LSTM; pretrained, it is a language model that reads from left to right."""

    name, model_type = "lstm", "minilm-lstm"
    config_class, encoder_class, pretraining_class = LSTMConfig, LSTMEncoder, LSTMLanguageModel

    def read_config(self, entries: dict, where: str = "config.json") -> LSTMConfig:
        if "classes" in entries:
            raise InputError(f"{where} was written by the first edition of minilm: train the model again.")
        return super().read_config(entries, where)

    def vector_size(self, config: LSTMConfig, scheme: str) -> int:
        return config.embedding


ARCHITECTURE = LSTMArchitecture()
