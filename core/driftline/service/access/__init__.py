"""Who may do what at a service's door: roles, and the credentials that give them."""
