-- phase: expand
-- summary: who switched an agent and why; what an access was for; data keys that go with what they open

-- ------------------------------------------------------------------------------------------------ switches

-- Append-only: the newest row of an agent says who switched it, when and why; `agents.enabled` is what holds.
CREATE TABLE dataswarm.agent_switches (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    agent   text NOT NULL,
    enabled boolean NOT NULL,
    by      text NOT NULL,
    reason  text NOT NULL
);
CREATE INDEX agent_switches_agent ON dataswarm.agent_switches (agent, id DESC);
GRANT SELECT, INSERT ON dataswarm.agent_switches TO dataswarm_public, dataswarm_internal, dataswarm_confidential;

-- ------------------------------------------------------------------------------------------------ accesses

-- The question that led to an item; empty where it was read by its key.
ALTER TABLE dataswarm.access_log ADD COLUMN query text NOT NULL DEFAULT '';

-- ------------------------------------------------------------------------------------------------ data keys

-- What is deleted by rows, and not by the age of its key, takes its data key along: whoever deletes it need not know,
-- nor be cleared. The trigger's arguments: the column an envelope stands in, and the noun it was sealed as. What only
-- looks like an envelope opens nothing, and is passed over.
CREATE FUNCTION dataswarm.forget_their_keys() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format(
        $delete$
        DELETE FROM dataswarm.data_keys k
        USING (
            SELECT CASE WHEN said ->> 'sealed' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                        THEN (said ->> 'sealed')::uuid END AS id
            FROM (SELECT %1$I AS said FROM gone) g
            WHERE jsonb_typeof(said) = 'object' AND said ? 'sealed' AND said ? 'box'
        ) sealed
        WHERE k.id = sealed.id AND k.noun = %2$L
        $delete$, TG_ARGV[0], TG_ARGV[1]);
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION dataswarm.forget_their_keys() FROM PUBLIC;

CREATE TRIGGER steps_gone AFTER DELETE ON dataswarm.steps
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.forget_their_keys('output', 'step');
