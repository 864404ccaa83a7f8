"""Figures about the swarm itself: histograms of a process, counts from rows."""
