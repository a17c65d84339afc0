"""Training a stack: the step, the loop, the evaluation."""
