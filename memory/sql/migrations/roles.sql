-- Roles of the swarm, for the whole cluster. Idempotent; run at every `dataswarm migrate`, by whom may create roles.
-- Where the owner may not, an administrator runs this file once (psql -f), then: GRANT dataswarm_owner TO <owner>;
-- Another database of the cluster may be doing the same right now: a role that appears meanwhile is fine.
DO $roles$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('dataswarm_owner', 'NOLOGIN'),
            ('dataswarm_public', 'NOLOGIN'),
            ('dataswarm_internal', 'NOLOGIN'),
            ('dataswarm_confidential', 'NOLOGIN'),
            ('dataswarm_worker', 'LOGIN NOINHERIT')) AS role(name, options)
    LOOP
        IF to_regrole(wanted.name) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS',
                               wanted.name, wanted.options);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    FOR wanted IN
        SELECT name FROM unnest(ARRAY['dataswarm_public', 'dataswarm_internal', 'dataswarm_confidential']) AS name
        WHERE NOT EXISTS (
            SELECT FROM pg_auth_members
            WHERE roleid = to_regrole(name) AND member = to_regrole('dataswarm_worker'))
    LOOP
        EXECUTE format('GRANT %I TO dataswarm_worker', wanted.name);
    END LOOP;
END
$roles$;
