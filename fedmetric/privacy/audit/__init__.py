"""Attacks on trained encoders and on mechanisms, each with its interval and its ceiling."""
