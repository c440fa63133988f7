"""The fleet: what edges leave in the store about themselves, and what the cloud answers."""
