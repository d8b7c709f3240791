"""Central evaluation on classes that nobody trains on: retrieval, few-shot, transfer and diagnostics."""
