"""What is left of a rollout for people: one record, and a page of it."""
