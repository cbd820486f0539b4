"""The chat in a terminal: what it says to the server, what it shows, and what it remembers."""
