"""Which images go back to the hub, and why."""
