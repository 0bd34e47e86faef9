"""The agent on the device: sees, is updated without missing a frame, and reports.

One frame's way: a camera's capture thread (`cameras`) puts it into the camera's buffer;
the pipeline takes it in turn, prepares it and runs the bundle that its slot holds
(`detect`, `update.slot`); the result goes to the sinks: statistics (`observe`), harvest
(`harvest`) and local outputs (`outputs`).
"""
