"""Which words do we share? Records, tensors, configuration, artifacts, the journal, seeds and errors."""
