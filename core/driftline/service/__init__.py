"""The frame of every service: settings, the app around its routes, and what is run beside it."""
