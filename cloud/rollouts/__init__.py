"""Staged changes of what a fleet runs.

A rollout brings one version of a model to the devices that its selector names, in
waves. The workflow, from the outside inwards:

1. `router` takes the request, `service.create` checks it, orders the devices into
   waves (`waves.assign`) and writes one waiting execution for each;
2. `engine` looks at every open rollout, under a lease that one engine holds at a time,
   and asks `planner.plan` what follows from what is known now;
3. `acting.act` carries the actions out: it moves executions, and `telling` changes desired
   states through the fleet slice, which publishes them after the commit;
4. devices report; `receiving.on_executions` moves their executions forward, never back.

Beside rollouts the engine keeps the models' floors in all desired states (`floors`).

States and their transition tables are in `states`.
"""
