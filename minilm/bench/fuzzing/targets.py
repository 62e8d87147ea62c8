"""All that a campaign can read, by name."""

from minilm.bench.fuzzing import folders, handed_in, tables, texts

TARGETS = {target.name: target for room in (tables, texts, folders, handed_in) for target in room.TARGETS}
