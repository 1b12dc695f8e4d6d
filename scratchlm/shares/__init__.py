"""Who would hold what of a model, and of a step of it, by formula: before any of it exists."""
