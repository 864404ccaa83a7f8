-- phase: expand
-- summary: what is seen, decided, opened and remedied; who may read it

-- Append-only tables hold evidence. Confidential text stands in its base table alone: never in `documents`.

-- The clearance of the session: 0 public, 1 internal, 2 confidential. It reads the role taken by SET LOCAL ROLE, which
-- stays visible inside functions that run as their owner. No role taken: public.
CREATE FUNCTION dataswarm.clearance() RETURNS smallint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE current_setting('role', true)
               WHEN 'dataswarm_confidential' THEN 2
               WHEN 'dataswarm_internal' THEN 1
               ELSE 0
           END::smallint
$$;

-- Rows above the clearance do not exist for a role, to read or to write. It stops mistakes, not hostile code in the
-- process, which may take any of the roles.
CREATE FUNCTION dataswarm.wall(noun text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wall record;
BEGIN
    EXECUTE format('ALTER TABLE dataswarm.%I ENABLE ROW LEVEL SECURITY', noun);
    FOR wall IN
        SELECT * FROM (
            VALUES (0, 'dataswarm_public'), (1, 'dataswarm_internal'), (2, 'dataswarm_confidential')
        ) AS walls (level, role)
    LOOP
        EXECUTE format(
            'CREATE POLICY %I ON dataswarm.%I TO %I USING (sensitivity <= %s) WITH CHECK (sensitivity <= %s)',
            wall.role, noun, wall.role, wall.level, wall.level
        );
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION dataswarm.wall(text) FROM PUBLIC;

-- ------------------------------------------------------------------------------------------------ episodic: the ledger

CREATE SEQUENCE dataswarm.observation_ids;
CREATE TABLE dataswarm.observations (
    id           bigint NOT NULL,
    at           timestamptz NOT NULL,
    agent        text NOT NULL,
    kind         text NOT NULL,
    subject      text NOT NULL,
    whole        text NOT NULL,          -- the subject without its part: a column is found through its table
    severity     text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    importance   double precision NOT NULL CHECK (importance BETWEEN 0 AND 1),
    sensitivity  smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    payload      jsonb NOT NULL,
    evidence     jsonb NOT NULL,
    content_hash text NOT NULL,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX observations_id ON dataswarm.observations (id);
CREATE INDEX observations_whole ON dataswarm.observations (whole, at, id); -- grows at its end, is read backwards

CREATE SEQUENCE dataswarm.decision_ids;
CREATE TABLE dataswarm.decisions (
    id           bigint NOT NULL,
    at           timestamptz NOT NULL,
    agent        text NOT NULL,
    kind         text NOT NULL,
    subject      text NOT NULL,
    rationale    text NOT NULL,
    cause        text NOT NULL,
    confidence   double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    payload      jsonb NOT NULL,
    evidence     jsonb NOT NULL,
    alternatives jsonb NOT NULL,
    transcript   jsonb NOT NULL,
    incident_id  bigint,
    supersedes   bigint,
    sensitivity  smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    content_hash text NOT NULL,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX decisions_id ON dataswarm.decisions (id);
CREATE INDEX decisions_incident ON dataswarm.decisions (incident_id, at DESC) WHERE incident_id IS NOT NULL;
CREATE INDEX decisions_subject ON dataswarm.decisions (subject, at DESC);

-- Which decision took the place of which: beside the decisions, which are never updated, and free of row-level security,
-- so that a reader who may not see the newer one still learns that the older is no longer held.
CREATE TABLE dataswarm.supersessions (
    older bigint PRIMARY KEY,
    newer bigint NOT NULL
);

-- ------------------------------------------------------------------------------------------------ incidents

CREATE TABLE dataswarm.incidents (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint    text NOT NULL,
    title          text NOT NULL,
    kind           text NOT NULL,
    severity       text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    state          text NOT NULL,
    subject        text NOT NULL,
    owner          text NOT NULL,
    opened_at      timestamptz NOT NULL,
    started_at     timestamptz NOT NULL,
    first_clean_at timestamptz,
    ended_at       timestamptz,
    resolution     text,
    reopened       integer NOT NULL DEFAULT 0,
    details        jsonb NOT NULL,
    version        integer NOT NULL DEFAULT 1,
    CHECK ((state IN ('resolved', 'closed')) = (ended_at IS NOT NULL)),
    CHECK ((ended_at IS NOT NULL) = (resolution IS NOT NULL))
);
CREATE UNIQUE INDEX incidents_open_fingerprint ON dataswarm.incidents (fingerprint)
    WHERE state NOT IN ('resolved', 'closed');
CREATE INDEX incidents_fingerprint ON dataswarm.incidents (fingerprint, id DESC);
CREATE INDEX incidents_open ON dataswarm.incidents (id DESC) WHERE state NOT IN ('resolved', 'closed');
CREATE INDEX incidents_ended ON dataswarm.incidents (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX incidents_opened ON dataswarm.incidents (opened_at);

CREATE TABLE dataswarm.incident_members (
    incident_id bigint NOT NULL REFERENCES dataswarm.incidents,
    noun        text NOT NULL,
    ref         bigint NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (incident_id, noun, ref)
);

CREATE TABLE dataswarm.incident_transitions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES dataswarm.incidents,
    at          timestamptz NOT NULL,
    before      text,
    after       text NOT NULL,
    by          text NOT NULL,
    reason      text NOT NULL
);
CREATE INDEX incident_transitions_incident ON dataswarm.incident_transitions (incident_id, id);

-- Over all incidents there ever were but false positives and duplicates; changed with each transition. A slot is a row
-- and a transition changes one, so that writers seldom meet and never in two orders.
CREATE TABLE dataswarm.incident_totals (
    slot      smallint PRIMARY KEY,
    opened    bigint NOT NULL,
    escalated bigint NOT NULL,
    final     bigint NOT NULL,
    auto      bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What was to be done about an incident and failed for good.
CREATE INDEX tasks_dead_incident ON dataswarm.tasks_dead (incident_id, id) WHERE incident_id IS NOT NULL;

-- ------------------------------------------------------------------------------------------------ remedies, humans

CREATE TABLE dataswarm.remediations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES dataswarm.incidents,
    decision_id bigint NOT NULL,
    playbook    text NOT NULL,
    state       text NOT NULL,
    subject     text NOT NULL,
    plan        jsonb NOT NULL,
    inverse     jsonb NOT NULL,
    result      jsonb NOT NULL,
    at          timestamptz NOT NULL,
    applied_at  timestamptz,
    ended_at    timestamptz
);
-- At most one remedy of an incident is under way: a rival waits until this one is verified, undone or has failed.
CREATE UNIQUE INDEX remediations_under_way ON dataswarm.remediations (incident_id)
    WHERE state IN ('approved', 'applied');
CREATE INDEX remediations_incident ON dataswarm.remediations (incident_id, id);
CREATE INDEX remediations_applied ON dataswarm.remediations (applied_at) WHERE applied_at IS NOT NULL;

CREATE TABLE dataswarm.approvals (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    remediation_id bigint NOT NULL REFERENCES dataswarm.remediations,
    incident_id    bigint NOT NULL REFERENCES dataswarm.incidents,
    state          text NOT NULL,
    question       text NOT NULL,
    asked_at       timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    answered_by    text NOT NULL DEFAULT '',
    answered_at    timestamptz
);
CREATE UNIQUE INDEX approvals_pending ON dataswarm.approvals (remediation_id) WHERE state = 'pending';
CREATE INDEX approvals_expiry ON dataswarm.approvals (expires_at) WHERE state = 'pending';
CREATE INDEX approvals_incident ON dataswarm.approvals (incident_id);

CREATE TABLE dataswarm.escalations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES dataswarm.incidents,
    state       text NOT NULL,
    reason      text NOT NULL,
    packet      jsonb NOT NULL,
    at          timestamptz NOT NULL,
    answered_by text NOT NULL DEFAULT '',
    answered_at timestamptz
);
CREATE INDEX escalations_incident ON dataswarm.escalations (incident_id, id);
CREATE INDEX escalations_pending ON dataswarm.escalations (id) WHERE state = 'pending';

-- ------------------------------------------------------------------------------------------------ controls

-- Append-only: the newest row is what holds, the older ones say who turned it and why.
CREATE TABLE dataswarm.kill_switch (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL,
    is_on  boolean NOT NULL,
    by     text NOT NULL,
    reason text NOT NULL
);

CREATE TABLE dataswarm.caps (
    scope    text PRIMARY KEY,
    autonomy text NOT NULL CHECK (autonomy IN ('observe', 'propose', 'act', 'paused')),
    by       text NOT NULL,
    reason   text NOT NULL,
    at       timestamptz NOT NULL
);

CREATE TABLE dataswarm.silences (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pattern text NOT NULL,
    by      text NOT NULL,
    reason  text NOT NULL,
    at      timestamptz NOT NULL,
    ends_at timestamptz NOT NULL
);
CREATE INDEX silences_ends ON dataswarm.silences (ends_at);

CREATE TABLE dataswarm.planned_changes (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pattern        text NOT NULL,
    kind           text NOT NULL,
    by             text NOT NULL,
    reason         text NOT NULL,
    starts_at      timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL,
    remediation_id bigint REFERENCES dataswarm.remediations,
    CHECK (ends_at > starts_at)
);
CREATE INDEX planned_changes_ends ON dataswarm.planned_changes (ends_at);

-- ------------------------------------------------------------------------------------------------ lineage, baselines

CREATE TABLE dataswarm.lineage (
    source     text NOT NULL,
    upstream   text NOT NULL,
    downstream text NOT NULL,
    kind       text NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (source, upstream, downstream)
);
CREATE INDEX lineage_upstream ON dataswarm.lineage (upstream);
CREATE INDEX lineage_downstream ON dataswarm.lineage (downstream);
-- Between which two wholes edges of columns are known: there a walk from a column goes by them alone.
CREATE INDEX lineage_columns ON dataswarm.lineage (split_part(upstream, '#', 1), split_part(downstream, '#', 1))
    WHERE kind LIKE 'column%';

-- What each source told last, as a hash: telling the same again touches no edge.
CREATE TABLE dataswarm.lineage_told (
    source text PRIMARY KEY,
    hash   text NOT NULL,
    at     timestamptz NOT NULL
);

CREATE TABLE dataswarm.baselines (
    agent   text NOT NULL,
    source  text NOT NULL,
    version integer NOT NULL,
    value   jsonb NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (agent, source)
);

-- The parts of a baseline with the revisions they were valid from (inclusive) to (exclusive; NULL: still). A part
-- without a past is replaced where it stands. What is confidential is sealed; then no hash of it is kept.
CREATE TABLE dataswarm.baseline_parts (
    agent       text NOT NULL,
    source      text NOT NULL,
    part        text COLLATE "C" NOT NULL,
    revision    integer NOT NULL,
    until       integer,
    has_past    boolean NOT NULL,
    sensitivity smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    hash        text,
    value       jsonb NOT NULL,
    PRIMARY KEY (agent, source, part, revision),
    CHECK (until > revision),
    CHECK (sensitivity < 2 OR (value ? 'sealed' AND hash IS NULL))
);
CREATE INDEX baseline_parts_now ON dataswarm.baseline_parts (agent, source, part) WHERE until IS NULL;
CREATE INDEX baseline_parts_past ON dataswarm.baseline_parts (agent, source, until) WHERE until IS NOT NULL;

-- The versions of a baseline at which parts with a past changed; those a human named are kept for ever.
CREATE TABLE dataswarm.baseline_revisions (
    agent    text NOT NULL,
    source   text NOT NULL,
    revision integer NOT NULL,
    at       timestamptz NOT NULL,
    changed  integer NOT NULL,
    note     text NOT NULL,
    PRIMARY KEY (agent, source, revision)
);
CREATE INDEX baseline_revisions_age ON dataswarm.baseline_revisions (at);

CREATE TABLE dataswarm.baseline_names (
    agent    text NOT NULL,
    source   text NOT NULL,
    name     text NOT NULL,
    revision integer NOT NULL,
    by       text NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (agent, source, name),
    FOREIGN KEY (agent, source, revision) REFERENCES dataswarm.baseline_revisions (agent, source, revision)
);
CREATE INDEX baseline_names_revision ON dataswarm.baseline_names (agent, source, revision);

INSERT INTO dataswarm.partitioned (parent, retention_days) VALUES ('observations', 90), ('decisions', 180);
SELECT dataswarm.make_partitions(parent, (statement_timestamp() AT TIME ZONE 'UTC')::date - 1, 3)
FROM dataswarm.partitioned WHERE parent IN ('observations', 'decisions');

-- ------------------------------------------------------------------------------------------------ rights

-- The first wall: what each role may do at all. Nothing here may be deleted but what is a mere derivative.
GRANT SELECT, INSERT ON
    dataswarm.observations, dataswarm.decisions, dataswarm.supersessions, dataswarm.incident_members,
    dataswarm.incident_transitions, dataswarm.kill_switch, dataswarm.planned_changes, dataswarm.baseline_names
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE ON
    dataswarm.incidents, dataswarm.incident_totals, dataswarm.remediations, dataswarm.approvals,
    dataswarm.escalations, dataswarm.silences, dataswarm.baselines, dataswarm.lineage_told
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    dataswarm.caps, dataswarm.lineage, dataswarm.baseline_parts, dataswarm.baseline_revisions
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT USAGE ON SEQUENCE dataswarm.observation_ids, dataswarm.decision_ids
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;

-- The second wall: row-level security.
SELECT dataswarm.wall(noun) FROM unnest(ARRAY['observations', 'decisions', 'baseline_parts']) AS noun;
