"""Benchmarks: ``python -m bench`` (``make bench``). Each prints its figure as a ratio to something measured in the same run."""
