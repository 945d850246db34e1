"""The site's databases.

transactions    where those of a request begin and end
commits         what waits for the commit of what was written
"""
