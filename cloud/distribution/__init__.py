"""Bytes to devices: wanted chunks once for all who listen, and the trust that names builds.

`wants` gathers what is missing, `sender` publishes it at a pace, `trust` keeps the TUF
repository that vouches for builds.
"""
