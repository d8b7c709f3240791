"""Train embedding networks across private image collections, federated and self-supervised."""

__version__ = "0.1.0"
