"""The hub: fleet, builds, distribution, rollouts, telemetry, annotation, training.

Each slice holds the same files: `models` (tables), `schemas` (API shapes), `queries`
(every SELECT), `service` (verbs that take a Session and a Principal; no HTTP, no
commit) and `router` (thin HTTP). `database` commits, `ingress` speaks MQTT, `app` wires.
"""
