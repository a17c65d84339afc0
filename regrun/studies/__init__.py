"""Questions asked with many runs: ablations, paths of strengths, published claims."""
