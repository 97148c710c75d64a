"""What hears and speaks behind the Cartesia stand-in: scripted (deterministic) or local (real models)."""
