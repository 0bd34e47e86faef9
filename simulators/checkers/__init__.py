"""What really happened, held against what was said to have happened.

`records` reads the cameras' truth logs and the devices' outputs and pairs them;
`scoring` turns pairs into mean average precision, `confusion` into who was taken for whom;
`frames` accounts for every frame, `messages` for every message, `digests` for every build.
"""
