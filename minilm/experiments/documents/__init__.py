"""The documents' five programs, put right and run on real data: `minilm documents`."""
