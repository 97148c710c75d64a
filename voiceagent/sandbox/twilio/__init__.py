"""Twilio's REST API and its link to the carrier that holds the calls."""
