"""What a build is worth: its detections against labels, as it ships.

`coco` scores boxes of any origin, `groups` reads them from JSON lines for `argosy score`,
and `service` has the agent's own code run a build over a dataset's golden split.
"""
