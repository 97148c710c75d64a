"""Live board: which call needs me now?"""
