"""Where the memory keeps what must be at hand: L1 in Redis."""
