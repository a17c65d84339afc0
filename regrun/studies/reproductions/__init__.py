"""Published results: what was claimed, how it is trained again, and what counts as agreement."""
