"""A look from outside: what others have published, asked the same questions."""
