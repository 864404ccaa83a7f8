"""Structure: how fast a warehouse is read and compared, against Alembic and a loop over SQLAlchemy's Inspector."""

from benchmarks.drift.running import add_options, run

__all__ = ["add_options", "run"]
