"""The object store: its port, what implements it, and how changes in it are heard of."""
