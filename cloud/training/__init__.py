"""Training: a queue of jobs, each a real Ultralytics training in a child process.

A job takes a dataset version and weights to start from, trains, exports to ONNX,
assembles the bundle, evaluates it as exported and registers a version with its build.

`states` says how a job moves. `runner` owns the queue in a thread of the hub and starts
`child` for each job in a folder that `workspace` prepares; `outcome` turns what the child
left there into a registered version. A job that ends in any other way leaves nothing.
"""
