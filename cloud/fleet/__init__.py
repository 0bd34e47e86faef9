"""Sites and devices: enrolment, what devices should run, what they say they run."""
