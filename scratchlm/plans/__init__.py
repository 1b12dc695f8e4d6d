"""What would a run take? Devices, memory, messages and time by formula, and the fastest division of labour."""
