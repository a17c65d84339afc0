"""Many runs: which there are, which share a stack, where they are trained."""
