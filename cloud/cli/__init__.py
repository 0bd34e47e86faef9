"""`argosy`: the hub's command line. Commands talk to a running hub over its REST API."""
