"""What keeps rollouts going: a board of what is known, and what is done about it."""
