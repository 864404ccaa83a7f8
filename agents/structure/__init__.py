"""Structure compared: which table and column became which, and what changed. Pure; no clock, no warehouse."""
