"""What is held to be true: facts by version, branches, rehearsals, learnings."""
