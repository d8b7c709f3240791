"""Central evaluation on classes that nobody trains on: its tasks, breakdowns and diagnostics."""
