"""Staged changes of what a fleet runs.

A rollout brings one version of a model to the devices that its selector names, in
waves. The workflow, from the outside inwards:

1. `router` takes the request, `service.create` checks it, orders the devices into
   waves (`waves.assign`) and writes one waiting execution for each;
2. `engine` looks at every open rollout, under a lease that one engine holds at a time,
   and asks `planner.plan` what follows from what is known now;
3. `service.act` carries the actions out: it changes desired states through the fleet
   slice, which publishes them after the commit, and moves executions;
4. devices report; `service.on_execution` moves their executions forward, never back.

States and their transition tables are in `states`.
"""
