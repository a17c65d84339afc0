"""Questions asked with many runs: what each ingredient does, the path of strengths, published claims."""
