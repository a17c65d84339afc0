"""Stacked optimizers, learning-rate schedules, and which parameter gets what, and why."""
