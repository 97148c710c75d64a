"""Settings by profile: ``embedded`` (the default), ``production``, ``test``; ``base`` has what they share."""
