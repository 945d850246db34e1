"""Purges: what is purged, in which order, and how everybody gets to know."""
