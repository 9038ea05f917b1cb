"""Decoder-based Sense Knowledge Distillation: the helper package of the reproducible study."""

__version__ = "0.1.0"
