"""Cartesia's wire protocol: recognition and voice."""
