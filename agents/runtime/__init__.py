"""The runtime: the only writer of what agents conclude."""
