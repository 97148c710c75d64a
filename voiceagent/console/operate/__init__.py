"""Stepping in: whisper, say, take over, hand back, end."""
