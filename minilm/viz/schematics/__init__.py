"""Schematics: how data flows through the models of this library, with the shape on every arrow.

Each function takes no arguments and returns a `Schematic`, which a notebook shows as the value of a cell:

    from minilm.viz import schematics
    schematics.attention_matrix()

`minilm schematics --out FOLDER` writes all of them as SVG and PNG. The drawing kit and the letters are in `kit.py`.
"""

from collections.abc import Callable

from minilm.viz.schematics.attention import attention_matrix, attention_one_query, many_heads, masks
from minilm.viz.schematics.bert import bert_input, fine_tuning_heads, masked_and_causal, next_sentence
from minilm.viz.schematics.block import block_orders
from minilm.viz.schematics.concepts import concept_map
from minilm.viz.schematics.crf import crf_lattice
from minilm.viz.schematics.dialogue import conversation_labels
from minilm.viz.schematics.kit import Schematic
from minilm.viz.schematics.pairs import two_towers
from minilm.viz.schematics.parts import parts_and_whole
from minilm.viz.schematics.pictures import pixels_by_class
from minilm.viz.schematics.places import positions, relative_bias
from minilm.viz.schematics.recurrent import gru_cell, lstm_cell, rnn_cell, rnn_unrolled
from minilm.viz.schematics.translation import encoder_decoder
from minilm.viz.schematics.words import pipeline, word_vectors
from minilm.viz.schematics.writing import decoding, kv_cache

# name → the function that draws it, in the order of the notebooks
SCHEMATICS: dict[str, Callable[[], Schematic]] = {
    function.__name__: function
    for function in (
        *(
            concept_map,
            pipeline,
            word_vectors,
            attention_one_query,
            attention_matrix,
            many_heads,
            masks,
            positions,
            relative_bias,
        ),
        *(block_orders, rnn_cell, rnn_unrolled, lstm_cell, gru_cell, bert_input, masked_and_causal, next_sentence),
        *(fine_tuning_heads, crf_lattice),
        *(kv_cache, decoding),
        *(conversation_labels, encoder_decoder, pixels_by_class, two_towers, parts_and_whole),
    )
}
__all__ = ["SCHEMATICS", "Schematic", *SCHEMATICS]
