"""A site whose functions take and return every kind of type, for a tool that calls them by the document alone."""
