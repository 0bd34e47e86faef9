"""How bright and how sharp a picture is."""

from __future__ import annotations

from edge_agent.cameras.source import Image


def luminance_and_sharpness(image: Image) -> tuple[float, float]:
    """Mean grey level (0..255) and variance of the Laplacian of a uint8 BGR image."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(cv2.mean(grey)[0]), float(deviation[0, 0]) ** 2
