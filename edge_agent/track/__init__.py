"""Which detections of successive frames are the same object."""
