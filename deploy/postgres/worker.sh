#!/bin/sh
# Runs once, when the memory is made: the role that works, with its password. `dataswarm migrate` makes the rest of the
# roles and finds this one there.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set=password="$WORKER_PASSWORD" <<'SQL'
CREATE ROLE dataswarm_worker LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'password';
SQL
