"""The textbook in NumPy: every formula as forward code, with its gradient derived by hand. One file per chapter, float64.

`minilm/layers` and the packages built on it implement the same formulas in PyTorch: they are faster and let autograd
compute the gradients. The tests check that both versions agree.
"""
