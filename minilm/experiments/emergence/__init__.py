"""Watching an ability appear: `minilm emergence NAME`."""
