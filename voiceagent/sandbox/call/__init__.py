"""``make call``: a simulated phone call from the command line."""
