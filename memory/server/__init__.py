"""The server beneath: embedded or not, its migrations, partitions, back-ups and health."""
