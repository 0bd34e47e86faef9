"""Video sources: a file, a folder of images, a network stream, a USB device."""
