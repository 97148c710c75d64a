"""A recorded call again: the invariants it must keep, the log it is read from, and the core it is fed to. Pure."""
