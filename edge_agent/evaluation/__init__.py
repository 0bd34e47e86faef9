"""The parts of `argosy-agent evaluate`: images in, answers, statistics and speed out."""
