"""The agent's life on its own box: pages and metrics on loopback, and systemd's watchdog."""
