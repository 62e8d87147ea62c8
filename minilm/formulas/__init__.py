"""The textbook in NumPy: every formula forward, and its gradient derived by hand. One file a chapter; no classes, float64.

`minilm/layers` and the rooms after it are the second view of the same formulas: fast, differentiated by machine, and
held equal to these pages by the tests.
"""
