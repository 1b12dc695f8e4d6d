"""Measurements that a stranger can repeat; nothing here is needed to use scratchLM."""
