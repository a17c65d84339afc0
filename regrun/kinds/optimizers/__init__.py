"""The kinds of optimizers: each class holds its keys, its update rule and its symbols."""
