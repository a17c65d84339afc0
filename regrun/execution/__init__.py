"""From a config to a run directory: where data, engine and store meet."""
