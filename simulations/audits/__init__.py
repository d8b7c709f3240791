"""Attacks on a finished run: what a trained encoder, an update and an embedding give away."""
