"""What stands on the blackboard: observations, decisions, incidents, and what holds the swarm back."""
