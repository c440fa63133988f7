"""How networks are made, fitted from scratch or fine-tuned, and exported."""
