"""Claims of speed and memory, one file a claim: each prints a ratio against a peer or a limit, measured in one run."""
