"""Writes: one module per operation, plain synchronous functions."""
