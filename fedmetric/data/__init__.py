"""From files to partitions: sources, cache, held-out classes."""
