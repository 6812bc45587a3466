"""The ReMem companion: measured memorisation first, unlearning second."""
