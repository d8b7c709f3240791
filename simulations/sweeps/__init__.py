"""Sweeps that come with fedmetric, as TOML files."""
