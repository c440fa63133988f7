"""What inference answers over REST."""
