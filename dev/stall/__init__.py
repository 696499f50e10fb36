"""How long checkpoints keep the other pipelines of a slot waiting."""
