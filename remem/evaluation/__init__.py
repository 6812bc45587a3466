"""Evaluation: what a model answers, how sure it is of names, where it holds them."""
