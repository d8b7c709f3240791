"""Secure aggregation: the server learns the sum of the updates and none of them."""
