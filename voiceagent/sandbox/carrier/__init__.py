"""The phone network: simulated calls against any server that speaks Twilio's protocol."""
