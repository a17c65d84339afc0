"""regrun: regularization experiments from YAML."""
