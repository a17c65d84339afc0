"""Ordinary modules by name: the definitions that stacks are made of."""
