"""Test call: does it work, and how does it feel?"""
