"""Agents: instructions, voice, tools and their versions."""
