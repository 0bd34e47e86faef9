"""What a build is worth: its detections against labels, as it ships.

The way of a build through it:

1. `matching` decides once which detections are right, by COCO's rule.
2. On the calibration split `thresholds.fit` and `calibration.fit` find where to serve from and
   what a confidence is worth; both go into the bundle.
3. On the golden split `report.evaluation_report` gives the figures: mAP by pycocotools (`coco`,
   the figure of record), and from the one matching precision and recall (`curves`), slices
   (`slices`), expected calibration error and duplicates. `average_precision` scores weighted
   images, for slices here and for the bootstrap of a promotion.
4. `parity` holds the build's answers on golden frames against the original's, `diagnosis`
   names the one changed thing that restores them, and `tolerance.judge` admits the build or
   says why not.
5. Beside it: `robustness` spoils images in known ways, and `ultralytics_metrics` tells in a
   child process what Ultralytics says of the same predictions.

All of that is pure but for the child. `running`, `perturbed` and `service` have the agent's own
code run a build, and keep what it saw (`predictions`); `groups` reads boxes from JSON lines for
`argosy score`.
"""
