"""Sockets of this screen: addresses below ``/console/``."""

from __future__ import annotations

from typing import Any

sockets: list[Any] = []
