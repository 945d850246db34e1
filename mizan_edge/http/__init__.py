"""HTTP itself: what messages mean, and how they are written and read. Pure: no I/O, no clock, no randomness."""
