"""The Flower ServerApp: rounds, checkpoints, the central evaluator."""
