"""The pages of docs/reference/, made from the definitions themselves: `make docs` writes them, a test compares."""
