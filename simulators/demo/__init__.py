"""The main job as one command: the loop closes before your eyes.

A story is a list of steps (`chapters`) over a `Story`: the running processes, the hub, what
has happened so far. What happened is written to a `Record`; after the last step `measure`
holds the devices' own outputs against the cameras' truth, `summary` says whether the goals
were met, and `report` draws the page.
"""
