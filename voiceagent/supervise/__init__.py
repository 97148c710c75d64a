"""What `make run` is made of: child processes that are kept alive, and the lines that a person reads."""
