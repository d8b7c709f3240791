"""Experiments that come with fedmetric, one short TOML file each."""
