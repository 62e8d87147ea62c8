"""beartype checks the signatures. It accepts an int where a float is expected, as Python itself does."""

import random

from beartype import BeartypeConf, beartype
from beartype._check.code import codemain

# beartype checks one random entry of a long list. It would draw from Python's global generator, and the exercises would
# mistake its draws for the learner's. Therefore it gets its own generator.
codemain.getrandbits = random.Random(0).getrandbits

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
