"""Tasks from the wish to the result: limits, claims, leases, steps, effects, timers."""
