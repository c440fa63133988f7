"""What networks learn from: inputs and targets, made of records by the code that serves."""
