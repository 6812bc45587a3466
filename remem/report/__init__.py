"""Scored rows in; tables, figures, verdicts and a page out."""
