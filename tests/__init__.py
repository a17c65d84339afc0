"""The tests of regrun, and what they share in :mod:`tests.support`."""
