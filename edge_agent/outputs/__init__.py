"""Where detections go on the device itself."""
