"""The explorer: one page that shows what a model makes of a text, from a file or from a small server."""
