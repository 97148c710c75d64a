"""PostgreSQL and Valkey from pip-installed wheels, started, watched and stopped by this project itself."""
