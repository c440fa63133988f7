"""What this edge says of itself in the store: each minute, and at once when something of note has happened."""
