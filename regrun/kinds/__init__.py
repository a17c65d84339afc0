"""Penalties, constraints, optimizers, schedules, models, datasets, noise: one class per kind."""
