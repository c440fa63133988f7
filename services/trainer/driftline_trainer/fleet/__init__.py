"""The cloud's view of the fleet: what edges say of themselves, as far as it can be believed."""
