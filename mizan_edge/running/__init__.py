"""What runs: settings, processes, and how they are composed, started and stopped."""
