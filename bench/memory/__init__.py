"""How well a caller's memory finds, what it wrongly finds, and how fast: ``make bench-memory``."""
