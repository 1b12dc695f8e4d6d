"""How does it speak? A cache, a sampler, one batched engine, and a speaker that turns messages into text."""
