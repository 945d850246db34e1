"""The commands of manage.py. `exporting` is what those share that write a document."""
