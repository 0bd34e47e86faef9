"""What devices send and must not be lost: statistics, events, samples.

`sequences` decides what is new, `service` stores it once and promises acknowledgements,
`acks` sends those after the commit, `spool` keeps images that come in chunks.
"""
