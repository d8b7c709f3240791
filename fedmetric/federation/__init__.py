"""Federated algorithms, both halves of one in one file."""
