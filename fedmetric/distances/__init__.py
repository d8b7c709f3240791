"""Registered distances between embeddings, one file each."""
