"""Annotation: images that came back from the fleet, waiting for somebody to label them."""
