"""Registered samplers, one file each."""
