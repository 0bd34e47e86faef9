"""Jobs: long work of the hub with progress, a log, retry and cancel.

A job has a kind, and each kind a handler, given by explicit dict where the hub is put
together. `states` says how a job moves; `runner` takes the oldest due one, runs its handler
in a thread with a folder of its own (`context`) and settles it. A handler registers what
it made in one transaction at its end, so that a job cut off anywhere leaves nothing.
"""
