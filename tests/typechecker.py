"""What checks the signatures: beartype, letting an int pass where a float is asked for, as Python itself does."""

import random

from beartype import BeartypeConf, beartype
from beartype._check.code import codemain

# It looks at one entry of a long list, drawn from Python's own generator, which is everybody's: the exercises would take
# its draws for the learner's. It gets a generator of its own.
codemain.getrandbits = random.Random(0).getrandbits

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
