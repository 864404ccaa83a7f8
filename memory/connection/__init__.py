"""The one way to the database: pools, transactions under a role, one round trip where one is enough."""
