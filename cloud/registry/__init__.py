"""The registry: models, their versions with lineage, and the builds of each version.

A build is a bundle named by the digest of its manifest. `bundles` makes one: export,
assemble with a provisional golden set, have the agent compute what the build as shipped
sees in the golden frames, assemble for good. `golden` chooses those frames.
"""
