"""Services on the net that are asked for texts, pictures or scores, with a key and for money."""
