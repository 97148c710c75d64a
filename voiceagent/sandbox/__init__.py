"""Vendor stand-ins: one server that speaks the wire protocols of Cartesia, OpenAI and Twilio.

Nothing here is imported by the product itself. The package shares no code with ``calls``: a stand-in that
used the product's own codecs could not catch a mistake in them.
"""
