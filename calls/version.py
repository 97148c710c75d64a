"""Which software this is; stands in the record of each call. The same as in ``pyproject.toml``."""

SOFTWARE = "0.1.0"
