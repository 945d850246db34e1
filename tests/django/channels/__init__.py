"""WebSockets of the test site."""
