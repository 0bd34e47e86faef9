"""What a rollout is asked to be: its rules, whom it means, and what is refused."""
