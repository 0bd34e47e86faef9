"""The words that hub and device both speak.

Pure: no IO, no clock, no randomness, so that either side, a simulator and a test can
use every part alike. The workflow, from the wire inwards:

1. a topic arrives as text, `topics.parse` names its kind and its parts;
2. its payload is decoded by `messages.decode` (JSON) or is raw bytes that a chunk
   list (`chunks`) vouches for;
3. decisions on both sides use the shared words: `states` with `machine.advance`,
   `builds` for compatibility, `bundles` for what swaps together, `histograms` for
   statistics that merge.
"""
