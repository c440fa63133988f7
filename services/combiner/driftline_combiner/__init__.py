"""Scores members when their truth arrives, weighs them, blends, and watches for drift."""
