"""Datasets: labelled images in immutable versions.

An imported YOLO folder becomes version 1: its val is the golden split, which no training
ever sees; from its train come the checkpoint selection and the calibration split. Images
that are nearly the same as one on the far side of a boundary are left out and listed.
A later version is its parent and the annotated samples that came since.

`folder` reads and refuses, `duplicates` and `splits` decide, `manifest` names the
result by a digest, `importer` runs it all in the background.
"""
