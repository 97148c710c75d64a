"""Callers and what is remembered of them: what do we believe about this person, and why?"""
