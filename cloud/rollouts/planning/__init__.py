"""What follows for a rollout from what is known now. Pure."""
