"""The proxy: it stands in front of a Mizan origin, serves what was declared, and purges what a response says.

Its packages are rooms above each other, of which docs/architecture.md has the plan.
"""
