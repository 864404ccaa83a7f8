#!/bin/sh
# Runs once, when the database's directory is made: the role the swarm works as, with the password it was given.
# Everything else (the other roles, the schema) is made by `dataswarm migrate`, which leaves this one as it is.
set -eu
password=$(cat /run/secrets/worker_password)
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set "password=$password" <<'SQL'
CREATE ROLE dataswarm_worker LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'password';
SQL
