"""Penalties of the objective and constraints after the step, for stacks of members."""
