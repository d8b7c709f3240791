"""Registered miners, one file each."""
