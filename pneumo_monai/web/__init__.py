"""The web port: /health, /ready and the status page."""
