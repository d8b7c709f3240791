"""A searchable index of a folder of images; on floor 2, because it holds a model."""

from fedmetric.index.build import build_index
from fedmetric.index.index import Hit, Index

__all__ = ["Hit", "Index", "build_index"]
