"""Training: the tiny base models, stage 1 (memorising), stage 2 (unlearning)."""
