"""From stored runs to claims with intervals; never imports the engine to read results."""
