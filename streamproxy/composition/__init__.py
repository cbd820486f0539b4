"""How the objects of a worker are made from the settings: the only place below app that sees them."""
