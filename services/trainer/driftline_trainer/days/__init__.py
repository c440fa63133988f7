"""Day files: what was archived in many small windows, in a few large files."""
