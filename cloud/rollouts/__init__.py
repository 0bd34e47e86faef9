"""Staged changes of what a fleet runs.

A rollout brings one version of a model to the devices that its selector names, in
waves. The workflow, from the outside inwards:

1. `router` takes the request, `service.create` checks it, orders the devices into
   waves (`waves.assign`) and writes one waiting execution for each;
2. `engine` looks at every rollout that is watched, under a `lease` that one engine holds at a
   time, and asks `planner.plan` what follows from what is known now;
3. what is known stands on its `board`: views of all devices (`devices`), of which a look reads
   anew those alone that somebody has counted as changed (`fleet.changes`);
4. `acting` carries the actions out, each checked against its rows: it moves executions, and
   `telling` changes desired states through the fleet slice, which publishes them after the
   commit; a gate is judged beside that (`gating`), and who comes to fit a continuous rollout
   joins it (`joining`);
5. devices report; `receiving.on_words` moves their executions forward, never back, and has
   `leaving` put right what was taken for theirs where a person there had gone back meanwhile.

Beside rollouts the engine keeps the models' floors in all desired states (`floors`).

States and their transition tables are in `states`.
"""
