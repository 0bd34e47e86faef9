"""Virtual devices, cameras and annotators that speak the production ports."""
