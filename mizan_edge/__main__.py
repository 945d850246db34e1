from mizan_edge.cli import main

main()
