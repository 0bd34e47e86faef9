"""What is made of detections for the line: reject rules and counts for the shelf.

A rule or shelf names classes; `binding` finds their ids in the model of each frame, `selection`
the detections that count. `rule` and `stock` are the pure decisions, with their states as
tables in `states`; the sink in `edge_agent.outputs.line` tells the channels what changed.
"""
