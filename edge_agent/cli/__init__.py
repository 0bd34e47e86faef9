"""What the commands do that the agent itself does not; each module is imported when called."""
