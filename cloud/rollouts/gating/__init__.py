"""How well a wave's cameras see: what is collected, and what is judged by it."""
