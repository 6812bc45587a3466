"""Data of people: made, read, checked, split, published."""
