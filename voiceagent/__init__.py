"""The composition root: settings, wiring, entry points, observability. Nothing else imports it."""
