"""The small static site of an outputs folder: no server, no request to anywhere."""

from remem.site.pages import build
