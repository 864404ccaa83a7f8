-- phase: expand
-- summary: what the swarm coordinates by: keys, events, agents, tasks, steps, effects, timers, counters

GRANT USAGE ON SCHEMA dataswarm TO dataswarm_public, dataswarm_internal, dataswarm_confidential, dataswarm_worker;

CREATE TABLE dataswarm.migrations (
    number     int PRIMARY KEY,
    name       text NOT NULL,
    phase      text NOT NULL CHECK (phase IN ('expand', 'contract')),
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL
);
GRANT SELECT ON dataswarm.migrations TO dataswarm_public, dataswarm_internal, dataswarm_confidential, dataswarm_worker;

-- Daily partitions, made ahead and dropped by retention ------------------------------------------------------------

CREATE TABLE dataswarm.partitioned (
    parent         text PRIMARY KEY,
    retention_days int NOT NULL CHECK (retention_days > 0)
);

-- A default partition keeps writes working when nobody maintained for a while; rows that went there are moved when
-- the day's own partition is made.
CREATE FUNCTION dataswarm.make_partitions(p_parent text, p_from date, p_days int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $body$
DECLARE
    made      int := 0;
    day       date;
    partition text;
    keyed_by  text;
BEGIN
    IF NOT EXISTS (SELECT FROM dataswarm.partitioned WHERE parent = p_parent) THEN
        RAISE EXCEPTION '% is not a partitioned table of the swarm', p_parent;
    END IF;
    SELECT a.attname INTO STRICT keyed_by
    FROM pg_partitioned_table p
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = format('dataswarm.%I', p_parent)::regclass;
    IF to_regclass(format('dataswarm.%I', p_parent || '_default')) IS NULL THEN
        EXECUTE format('CREATE TABLE dataswarm.%I PARTITION OF dataswarm.%I DEFAULT',
                       p_parent || '_default', p_parent);
    END IF;
    FOR day IN SELECT p_from + n FROM generate_series(0, p_days - 1) AS n LOOP
        partition := p_parent || '_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(format('dataswarm.%I', partition)) IS NOT NULL;
        EXECUTE format('CREATE TABLE dataswarm.%I (LIKE dataswarm.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                       partition, p_parent);
        EXECUTE format(
            'WITH moved AS (DELETE FROM dataswarm.%I WHERE %I >= %L AND %I < %L RETURNING *)
             INSERT INTO dataswarm.%I SELECT * FROM moved',
            p_parent || '_default', keyed_by, day::timestamp AT TIME ZONE 'UTC',
            keyed_by, (day + 1)::timestamp AT TIME ZONE 'UTC', partition);
        EXECUTE format('ALTER TABLE dataswarm.%I ATTACH PARTITION dataswarm.%I FOR VALUES FROM (%L) TO (%L)',
                       p_parent, partition, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$body$;

-- Drops the partitions that lie wholly before the day; their names. Late rows in the default partition go too.
CREATE FUNCTION dataswarm.drop_partitions(p_parent text, p_before date) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $body$
DECLARE
    dropped   text[] := '{}';
    partition text;
    keyed_by  text;
BEGIN
    IF NOT EXISTS (SELECT FROM dataswarm.partitioned WHERE parent = p_parent) THEN
        RAISE EXCEPTION '% is not a partitioned table of the swarm', p_parent;
    END IF;
    SELECT a.attname INTO STRICT keyed_by
    FROM pg_partitioned_table p
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = format('dataswarm.%I', p_parent)::regclass;
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = format('dataswarm.%I', p_parent)::regclass
          AND c.relname ~ '_[0-9]{8}$' AND to_date(right(c.relname, 8), 'YYYYMMDD') < p_before
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE dataswarm.%I', partition);
        dropped := dropped || partition;
    END LOOP;
    EXECUTE format('DELETE FROM dataswarm.%I WHERE %I < %L',
                   p_parent || '_default', keyed_by, p_before::timestamp AT TIME ZONE 'UTC');
    RETURN dropped;
END
$body$;

REVOKE ALL ON FUNCTION dataswarm.make_partitions(text, date, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION dataswarm.drop_partitions(text, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dataswarm.make_partitions(text, date, int),
                          dataswarm.drop_partitions(text, date) TO dataswarm_internal;

-- Keys: every deduplication is one INSERT … ON CONFLICT here ---------------------------------------------------------

CREATE TABLE dataswarm.keys (
    scope      text NOT NULL,
    key        text NOT NULL CHECK (length(key) <= 800),
    holder     text NOT NULL DEFAULT '',
    expires_at timestamptz,
    PRIMARY KEY (scope, key)
) WITH (fillfactor = 80);
CREATE INDEX keys_expiring ON dataswarm.keys (expires_at) WHERE expires_at IS NOT NULL;

-- Events: pointers on the bus. Read by a pg_snapshot cursor over xid, never by id > last -----------------------------

CREATE SEQUENCE dataswarm.event_ids CACHE 1;
CREATE TABLE dataswarm.events (
    id           bigint NOT NULL DEFAULT nextval('dataswarm.event_ids'),
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at           timestamptz NOT NULL DEFAULT statement_timestamp(),
    topic        text NOT NULL,
    subject      text NOT NULL,
    noun         text NOT NULL,
    reference_id bigint NOT NULL,
    agent        text NOT NULL DEFAULT ''
) PARTITION BY RANGE (at);
CREATE INDEX events_order ON dataswarm.events (xid, id);
CREATE INDEX events_time ON dataswarm.events (at, id);

-- The snapshot a cursor is made of. A transaction counts itself as still in progress, so what it publishes after
-- having read comes to its reader later instead of never.
CREATE FUNCTION dataswarm.bus_snapshot() RETURNS pg_snapshot
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT CASE
        WHEN own IS NULL OR own >= pg_snapshot_xmax(now) THEN now
        ELSE format('%s:%s:%s', least(own, pg_snapshot_xmin(now)), pg_snapshot_xmax(now),
                    (SELECT string_agg(xid::text, ',' ORDER BY xid)
                     FROM (SELECT pg_snapshot_xip(now) AS xid UNION SELECT own) AS open))::pg_snapshot
        END
    FROM (SELECT pg_current_snapshot() AS now, pg_current_xact_id_if_assigned() AS own) AS session
$body$;

-- Agents and the processes that run them -----------------------------------------------------------------------------
-- Holder, lease and cursor stand in no index: renewing is a HOT update.

CREATE TABLE dataswarm.agents (
    agent        text PRIMARY KEY CHECK (agent <> '' AND length(agent) <= 200),
    capabilities jsonb NOT NULL DEFAULT '[]',
    clearance    smallint NOT NULL CHECK (clearance BETWEEN 0 AND 2),
    enabled      boolean NOT NULL DEFAULT true,
    holder       uuid,
    token        uuid,
    host         text NOT NULL DEFAULT '',
    process      text NOT NULL DEFAULT '',
    lease_until  timestamptz,
    beat_at      timestamptz,
    cursor       jsonb NOT NULL,
    enlisted_at  timestamptz NOT NULL
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE dataswarm.processes (
    process_id         uuid PRIMARY KEY,
    host               text NOT NULL,
    pid                int NOT NULL,
    version            text NOT NULL,
    config_fingerprint text NOT NULL,
    agents             text[] NOT NULL,
    started_at         timestamptz NOT NULL,
    beat_at            timestamptz NOT NULL
) WITH (fillfactor = 40);

-- Tasks --------------------------------------------------------------------------------------------------------------
-- `tasks` holds what can run now or is running, and nothing else; one sequence numbers a task through all four tables.
-- Lease, worker and token stand in no index and no predicate: claim and heartbeat are HOT updates. A page holds its
-- rows twice, the second time longer by the lease, hence the low fillfactor.

CREATE SEQUENCE dataswarm.task_ids CACHE 1;
CREATE TABLE dataswarm.tasks (
    id               bigint PRIMARY KEY,
    agent            text NOT NULL,
    kind             text NOT NULL,
    subject          text NOT NULL,
    payload          jsonb NOT NULL,
    priority         int NOT NULL,
    attempt          int NOT NULL,
    max_attempts     int NOT NULL,
    deadline_seconds double precision NOT NULL,
    created_at       timestamptz NOT NULL,
    ready_at         timestamptz NOT NULL,
    key              text,
    key_outlives     boolean NOT NULL,
    exclusive        boolean NOT NULL,
    incident_id      bigint,
    error            text NOT NULL,
    worker           uuid,
    token            uuid,
    leased_at        timestamptz,
    lease_until      timestamptz
) WITH (fillfactor = 35, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000,
        vacuum_truncate = false);
CREATE INDEX tasks_queue ON dataswarm.tasks (agent, priority DESC, id);

-- What cannot run now: later, backing off, its subject taken, its kind's limit reached. Never seen by a claim.
CREATE TABLE dataswarm.tasks_scheduled (
    id               bigint PRIMARY KEY,
    agent            text NOT NULL,
    kind             text NOT NULL,
    subject          text NOT NULL,
    payload          jsonb NOT NULL,
    priority         int NOT NULL,
    attempt          int NOT NULL,
    max_attempts     int NOT NULL,
    deadline_seconds double precision NOT NULL,
    created_at       timestamptz NOT NULL,
    key              text,
    key_outlives     boolean NOT NULL,
    exclusive        boolean NOT NULL,
    incident_id      bigint,
    error            text NOT NULL,
    reason           text NOT NULL CHECK (reason IN ('later', 'backoff', 'limit', 'subject')),
    due_at           timestamptz,
    CHECK ((due_at IS NULL) = (reason IN ('limit', 'subject')))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX tasks_scheduled_due ON dataswarm.tasks_scheduled (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX tasks_scheduled_subject ON dataswarm.tasks_scheduled (subject, priority DESC, id)
    WHERE reason = 'subject';
CREATE INDEX tasks_scheduled_limit ON dataswarm.tasks_scheduled (agent, kind, priority DESC, id)
    WHERE reason = 'limit';

CREATE TABLE dataswarm.tasks_dead (
    id               bigint PRIMARY KEY,
    agent            text NOT NULL,
    kind             text NOT NULL,
    subject          text NOT NULL,
    payload          jsonb NOT NULL,
    priority         int NOT NULL,
    attempt          int NOT NULL,
    max_attempts     int NOT NULL,
    deadline_seconds double precision NOT NULL,
    created_at       timestamptz NOT NULL,
    key              text,
    key_outlives     boolean NOT NULL,
    exclusive        boolean NOT NULL,
    incident_id      bigint,
    error            text NOT NULL,
    died_at          timestamptz NOT NULL
);
CREATE INDEX tasks_dead_agent ON dataswarm.tasks_dead (agent, id);

CREATE TABLE dataswarm.tasks_history (
    id               bigint NOT NULL,
    agent            text NOT NULL,
    kind             text NOT NULL,
    subject          text NOT NULL,
    payload          jsonb NOT NULL,
    priority         int NOT NULL,
    attempt          int NOT NULL,
    max_attempts     int NOT NULL,
    deadline_seconds double precision NOT NULL,
    created_at       timestamptz NOT NULL,
    key              text,
    incident_id      bigint,
    error            text NOT NULL,
    worker           uuid,
    state            text NOT NULL CHECK (state IN ('succeeded', 'cancelled')),
    result           jsonb,
    leased_at        timestamptz,
    finished_at      timestamptz NOT NULL
) PARTITION BY RANGE (finished_at);
CREATE INDEX tasks_history_id ON dataswarm.tasks_history (id);

-- Journal, effects, timers -------------------------------------------------------------------------------------------

CREATE TABLE dataswarm.steps (
    task_id bigint NOT NULL,
    name    text NOT NULL CHECK (length(name) <= 400),
    version int NOT NULL,
    shape   text NOT NULL,
    output  jsonb NOT NULL,
    attempt int NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (task_id, name)
);
CREATE INDEX steps_time ON dataswarm.steps USING brin (at);

CREATE TABLE dataswarm.effects (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id        bigint NOT NULL,
    step           text NOT NULL CHECK (length(step) <= 400),
    remediation_id bigint,
    target         text NOT NULL,
    intent         jsonb NOT NULL,
    inverse        jsonb NOT NULL,
    effect_class   text NOT NULL CHECK (effect_class IN ('invertible', 'idempotent', 'not_invertible')),
    state          text NOT NULL CHECK (state IN ('intended', 'done', 'undone', 'failed', 'refused')),
    result         jsonb,
    at             timestamptz NOT NULL,
    settled_at     timestamptz,
    UNIQUE (task_id, step)
);
CREATE INDEX effects_remediation ON dataswarm.effects (remediation_id, id) WHERE remediation_id IS NOT NULL;

CREATE TABLE dataswarm.timers (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent    text NOT NULL,
    key      text NOT NULL CHECK (length(key) <= 400),
    due_at   timestamptz NOT NULL,
    payload  jsonb NOT NULL,
    subject  text NOT NULL,
    fired_at timestamptz
);
CREATE UNIQUE INDEX timers_waiting ON dataswarm.timers (agent, key) WHERE fired_at IS NULL;
CREATE INDEX timers_due ON dataswarm.timers (due_at) WHERE fired_at IS NULL;
CREATE INDEX timers_fired ON dataswarm.timers (fired_at) WHERE fired_at IS NOT NULL;

-- Counters: count transitions, never decrease, survive retention. Eight slots a counter, so that concurrent writers
-- seldom wait for one another's commit.
CREATE TABLE dataswarm.counters (
    name   text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    slot   smallint NOT NULL,
    value  double precision NOT NULL CHECK (value >= 0),
    PRIMARY KEY (name, labels, slot)
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE, DELETE ON
    dataswarm.keys, dataswarm.agents, dataswarm.processes, dataswarm.tasks, dataswarm.tasks_scheduled,
    dataswarm.tasks_dead, dataswarm.timers, dataswarm.steps, dataswarm.effects
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT ON dataswarm.events, dataswarm.tasks_history
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE ON dataswarm.counters TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT ON dataswarm.partitioned TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT USAGE ON SEQUENCE dataswarm.event_ids, dataswarm.task_ids
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;

INSERT INTO dataswarm.partitioned (parent, retention_days) VALUES ('events', 14), ('tasks_history', 30);
-- Enough to begin with; the first round of maintenance makes a week.
SELECT dataswarm.make_partitions(parent, (statement_timestamp() AT TIME ZONE 'UTC')::date - 1, 3)
FROM dataswarm.partitioned;
