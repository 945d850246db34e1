"""What a worker holds in its own memory, and how long that may be used."""
