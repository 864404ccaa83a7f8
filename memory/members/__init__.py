"""Who is there and what each can be asked: leases of agents, capabilities."""
