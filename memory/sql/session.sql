-- Commands to the session itself; they touch no table.

-- name: begin_public
-- session: opens a transaction that reads what is public
BEGIN; SET LOCAL ROLE dataswarm_public;

-- name: begin_internal
-- session: opens a transaction that reads up to what is internal
BEGIN; SET LOCAL ROLE dataswarm_internal;

-- name: begin_confidential
-- session: opens a transaction that reads everything
BEGIN; SET LOCAL ROLE dataswarm_confidential;

-- name: limit_time
-- session: a runaway statement is stopped, and a frozen process does not hold its locks for ever
SET LOCAL statement_timeout = {milliseconds}; SET LOCAL idle_in_transaction_session_timeout = {idle};

-- name: relax
-- session: commits without waiting for the disk; only for what may be done again (claim, heartbeat, access log)
SET LOCAL synchronous_commit = off;

-- name: commit
-- session: ends the transaction
COMMIT;

-- name: notify
-- index: none, no table; in a transaction of its own, for it takes a lock on the whole server when it commits
SELECT pg_notify(%(channel)s::text, payload) FROM unnest(%(payloads)s::text[]) AS payload;

-- name: listen
-- session: the one LISTEN of a process, the swarm's channel and one for the echo
LISTEN {channel};

-- name: who_am_i
-- index: pg_authid_rolname_index
SELECT rolname::text AS name,
       rolsuper OR rolbypassrls AS too_mighty,
       to_regrole('dataswarm_internal') IS NOT NULL
           AND pg_has_role(session_user, to_regrole('dataswarm_internal'), 'MEMBER')
           AND pg_has_role(session_user, to_regrole('dataswarm_public'), 'MEMBER')
           AND pg_has_role(session_user, to_regrole('dataswarm_confidential'), 'MEMBER') AS member,
       current_setting('server_version_num')::int AS version
FROM pg_roles WHERE rolname = session_user;
