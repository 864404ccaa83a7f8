-- name: lock_migrations
-- index: none, an advisory lock of this database; needs a direct connection
SELECT pg_advisory_lock(7165401);

-- name: is_installed
-- index: pg_class_relname_nsp_index
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'dataswarm' AND c.relname = 'migrations') AS installed;

-- name: applied_migrations
-- index: migrations_pkey
SELECT number, name, phase, checksum, applied_at FROM dataswarm.migrations ORDER BY number;

-- name: note_migration
-- index: migrations_pkey
INSERT INTO dataswarm.migrations (number, name, phase, checksum, applied_at)
VALUES (%(number)s::int, %(name)s::text, %(phase)s::text, %(checksum)s::text, statement_timestamp());

-- name: examine_server
-- index: pg_extension_name_index
SELECT current_setting('server_version_num')::int AS version,
       current_user::text AS owner,
       (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector_installed,
       (SELECT default_version FROM pg_available_extensions WHERE name = 'vector') AS vector_available,
       (SELECT count(*) FROM unnest(ARRAY['dataswarm_owner', 'dataswarm_public', 'dataswarm_internal',
                                          'dataswarm_confidential', 'dataswarm_worker']) AS role
        WHERE to_regrole(role) IS NULL) AS roles_missing,
       has_database_privilege(current_database(), 'CREATE') AS may_create;

-- name: is_member
-- index: pg_auth_members_role_member_index
SELECT CASE WHEN current_setting('server_version_num')::int >= 160000
            THEN pg_has_role(current_user, to_regrole('dataswarm_owner'), 'SET')
            ELSE pg_has_role(current_user, to_regrole('dataswarm_owner'), 'MEMBER') END AS member;

-- name: join_owner
-- session: the connecting owner may act as the schema's owner
GRANT dataswarm_owner TO CURRENT_USER;

-- name: install_vector
-- session: where pgvector is marked as trusted the database's owner may install it, else an administrator
CREATE EXTENSION IF NOT EXISTS vector;

-- name: create_schema
-- session: the schema belongs to the owner role, whoever migrates
CREATE SCHEMA IF NOT EXISTS dataswarm AUTHORIZATION dataswarm_owner;

-- name: become_owner
-- session: what a migration makes belongs to the owner role
SET LOCAL ROLE dataswarm_owner;

-- name: set_worker_password
-- session: the password arrives as a SCRAM verifier, never in the clear
ALTER ROLE dataswarm_worker PASSWORD {verifier};
