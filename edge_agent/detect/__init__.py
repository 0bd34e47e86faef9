"""From a frame to detections: letterbox, runtime, head."""
