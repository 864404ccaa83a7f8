"""A git repository as the place where models are written, worked on in a clone of the swarm's own."""

from integrations.repositories.git.options import GitOptions
from integrations.repositories.git.repository import GitRepository

__all__ = ["GitOptions", "GitRepository"]
