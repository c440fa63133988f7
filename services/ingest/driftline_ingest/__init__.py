"""Takes records in at the door and archives windows and results in the store."""
