"""The operator's console: one package for each screen, and what they share."""
