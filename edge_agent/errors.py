"""Errors of the edge agent. Each names the thing that is wrong and the remedy."""

from __future__ import annotations


class EdgeError(Exception):
    """Base of everything that the agent raises on bad input or a broken part."""


class CameraError(EdgeError):
    """A camera that is not there, was lost, or gives what is no image."""


class BadImageError(CameraError):
    """One image of a source that cannot be read; the ones after it may be good."""


class DetectorError(EdgeError):
    """A model that cannot be loaded, or whose answer makes no sense."""


class BundleError(EdgeError):
    """A bundle on disk that is not whole or does not fit this device."""


class OutputError(EdgeError):
    """A local output that cannot be written."""
