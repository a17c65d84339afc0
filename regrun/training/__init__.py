"""Training a stack: one step, the epochs, the measurements."""
