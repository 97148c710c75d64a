"""The list of calls: find the calls like this one."""
