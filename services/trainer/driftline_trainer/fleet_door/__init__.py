"""The cloud's door for edges: they join, get what they work with, and reach the object store as far as it is theirs."""
