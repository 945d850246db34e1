"""Forms of the test site."""
