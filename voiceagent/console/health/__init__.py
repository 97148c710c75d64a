"""Health: performance and dependencies."""
