"""Cores of older policy versions, one package each, as ``manage.py freeze_core`` made them: ``v1``, ``v2``, …

They are read to replay old records and never changed.
"""
