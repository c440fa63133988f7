"""The step-and-commit loop, and what steps over many series share."""
