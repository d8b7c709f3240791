"""Slow, obvious implementations straight from the definitions, which the library is compared with."""
