"""Invented people, drawn by code: who they are, their faces, the questions about them."""
