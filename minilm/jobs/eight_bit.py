"""Write a model in 8 bits.  D1 §7.4 (computing with low precision)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minilm.files.notes import Notes, aside
from minilm.layers.eight_bit import in_eight_bits
from minilm.pretrained.protocol import open_model, save_model
from minilm.pretrained.run_folder import refuse_to_overwrite


@dataclass(frozen=True)
class EightBitOptions:
    """Write a copy of a model whose encoder has its linear layers in 8 bits. It takes less room, computes faster on many
    processors, and gives almost the same answers. It is for using a model: it cannot be trained further."""

    model: Path
    """The folder of a model, or a published model by name."""
    out: Path
    embeddings: bool = False
    """Put the table of tokens into 8 bits as well."""


def eight_bit(options: EightBitOptions, say: Callable[[str], None] = print) -> Path:
    """Write the model and say how large both are. Raises InputError if there is a model in `out` already."""
    refuse_to_overwrite(options.out)
    loaded = open_model(options.model, Notes(aside if say is print else say))
    save_model(options.out, in_eight_bits(loaded.model, options.embeddings), loaded.tokenizer)
    before, after = (size_of(folder) for folder in (loaded.folder, options.out))
    say(f"{options.out}: {after / 1e6:.1f} MB of weights instead of {before / 1e6:.1f} MB")
    return options.out


def size_of(folder: Path) -> int:
    """The bytes of the weights in a folder."""
    files = [folder] if folder.is_file() else list(folder.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files)
