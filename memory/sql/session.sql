-- Commands to the session itself; they touch no table.

-- name: begin
-- session: opens a transaction; sent together with `enter` and its first statement
BEGIN;

-- name: enter
-- session: the role of a clearance, and limits: a runaway statement is stopped, and a frozen process does not hold its
-- locks for ever. All of it ends with the transaction
SELECT set_config('role', %(role)s::text, true), set_config('statement_timeout', %(statement)s::text, true),
       set_config('idle_in_transaction_session_timeout', %(idle)s::text, true);

-- name: enter_relaxed
-- session: the same, and the commit does not wait for the disk; only for what may be done again (claim, heartbeat)
SELECT set_config('role', %(role)s::text, true), set_config('statement_timeout', %(statement)s::text, true),
       set_config('idle_in_transaction_session_timeout', %(idle)s::text, true),
       set_config('synchronous_commit', 'off', true);

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
