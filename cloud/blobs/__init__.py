"""Blobs: bytes by digest. Models, manifests, images: whatever is named by its sha256."""
