"""What the operating system and the event loop give: sockets, processes, tasks, certificates. One kind of I/O each."""
