"""The command line: a file a verb, heavy imports inside the functions."""
