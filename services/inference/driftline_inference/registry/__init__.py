"""The models of all streams: what serves, what is named by the store, and what this edge keeps of it."""
