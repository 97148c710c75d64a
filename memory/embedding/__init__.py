"""Meaning as vectors, behind one port. Imports nothing of Django; what it needs is handed in."""
