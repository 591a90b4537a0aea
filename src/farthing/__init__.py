"""farthing: every token accounted for."""
