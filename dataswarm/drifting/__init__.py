"""Drift as people meet it: two structures compared before it happens, what was told, what was accepted."""
