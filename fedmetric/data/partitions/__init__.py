"""Partitioners: one file for each way to divide images among clients."""
