"""scratchLM builds a large language model from scratch and ends with one you can talk to."""

__version__ = "0.1.0"
