"""What the agent tells of what it sees and of the machine that it runs on."""
