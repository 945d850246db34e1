"""The origin as a server: connections to it, and what is said over them."""
