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
        -- Rows come and stay until the day is dropped: a vacuum after inserts would only read them all once more.
        EXECUTE format('CREATE TABLE dataswarm.%I (LIKE dataswarm.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
                        WITH (autovacuum_vacuum_insert_threshold = -1)', partition, p_parent);
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
        IF p_parent = 'events' THEN
            PERFORM dataswarm.note_skipped(partition, p_before);
        END IF;
        EXECUTE format('DROP TABLE dataswarm.%I', partition);
        dropped := dropped || partition;
    END LOOP;
    IF p_parent = 'events' THEN
        PERFORM dataswarm.note_skipped(p_parent || '_default', p_before);
    END IF;
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
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
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
-- Holder, lease and cursor stand in no index: renewing is a HOT update. `hears` is one regular expression over topics
-- (NULL: all of them); `skipped` counts what retention dropped before the agent had read it, until it has said so.

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
    hears        text,
    skipped      bigint NOT NULL DEFAULT 0,
    skipped_from timestamptz,
    skipped_till timestamptz,
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
    beat_at            timestamptz NOT NULL,
    figures            jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Called before a partition of events is dropped: whoever has not read it is told how much it missed.
CREATE FUNCTION dataswarm.note_skipped(p_partition text, p_before date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM FROM dataswarm.agents ORDER BY agent FOR UPDATE;
    EXECUTE format(
        'UPDATE dataswarm.agents AS a
         SET skipped = a.skipped + missed.number, skipped_from = least(a.skipped_from, missed.first_at),
             skipped_till = greatest(a.skipped_till, missed.last_at)
         FROM (SELECT r.agent, count(*) AS number, min(e.at) AS first_at, max(e.at) AS last_at
               FROM dataswarm.agents r
               JOIN dataswarm.%I e ON e.xid >= pg_snapshot_xmin((r.cursor ->> ''base'')::pg_snapshot)
               WHERE NOT pg_visible_in_snapshot(e.xid, (r.cursor ->> ''base'')::pg_snapshot)
                 AND (e.xid, e.id) > ((r.cursor ->> ''xid'')::xid8, (r.cursor ->> ''id'')::bigint)
                 AND e.at < %L AND e.agent IN ('''', r.agent) AND (r.hears IS NULL OR e.topic ~ r.hears)
               GROUP BY r.agent) AS missed
         WHERE a.agent = missed.agent', p_partition, p_before::timestamp AT TIME ZONE 'UTC');
END
$body$;
REVOKE ALL ON FUNCTION dataswarm.note_skipped(text, date) FROM PUBLIC;

-- After a restore into another cluster transactions are numbered anew, and a cursor may lie ahead of the server: it would
-- read nothing for ever. What its agent had not read is told to that agent again under this cluster's numbers, and old
-- rows that lie ahead get the lowest number there is, before they could pass for news. What was published here before
-- anybody rebased is older than the cursor by its number, and younger than the agent's last sign of life by its time.
CREATE FUNCTION dataswarm.rebase_bus() RETURNS TABLE (moved text, unread bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    reader record;
BEGIN
    IF NOT EXISTS (SELECT FROM dataswarm.agents a
                   WHERE pg_snapshot_xmax((a.cursor ->> 'base')::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()))
    THEN
        RETURN;
    END IF;
    PERFORM FROM dataswarm.agents ORDER BY agent FOR UPDATE;
    FOR reader IN
        SELECT a.agent, a.hears, a.beat_at, (a.cursor ->> 'base')::pg_snapshot AS base,
               (a.cursor ->> 'xid')::xid8 AS after_xid, (a.cursor ->> 'id')::bigint AS after_id
        FROM dataswarm.agents a
        WHERE pg_snapshot_xmax((a.cursor ->> 'base')::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())
        ORDER BY a.agent
    LOOP
        INSERT INTO dataswarm.events (at, topic, subject, noun, reference_id, agent)
        SELECT statement_timestamp(), e.topic, e.subject, e.noun, e.reference_id, reader.agent
        FROM dataswarm.events e
        WHERE e.agent IN ('', reader.agent) AND (reader.hears IS NULL OR e.topic ~ reader.hears)
          AND e.xid <> pg_current_xact_id()
          AND (NOT pg_visible_in_snapshot(e.xid, reader.base)
                   AND (e.xid, e.id) > (reader.after_xid, reader.after_id)
               OR e.xid < pg_snapshot_xmax(pg_current_snapshot()) AND e.at > reader.beat_at + interval '1 minute')
        ORDER BY e.at, e.xid, e.id;
        GET DIAGNOSTICS unread = ROW_COUNT;
        moved := reader.agent;
        UPDATE dataswarm.agents AS a
        SET cursor = jsonb_build_object('base', dataswarm.bus_snapshot()::text, 'target', NULL, 'xid', '0', 'id', 0)
        WHERE a.agent = reader.agent;
        RETURN NEXT;
    END LOOP;
    UPDATE dataswarm.events SET xid = '3'
    WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()) AND xid <> pg_current_xact_id();
END
$body$;
REVOKE ALL ON FUNCTION dataswarm.rebase_bus() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dataswarm.rebase_bus() TO dataswarm_internal;

-- Tasks --------------------------------------------------------------------------------------------------------------
-- What agents can be asked to do. A queue is an (agent, kind); a task of a kind that nobody declared is refused. The row
-- of a kind with a limit is also the lock under which its tasks are admitted.

CREATE TABLE dataswarm.task_kinds (
    agent                   text NOT NULL,
    kind                    text NOT NULL,
    max_running             int CHECK (max_running > 0),
    max_attempts            int NOT NULL CHECK (max_attempts > 0),
    backoff_seconds         double precision NOT NULL CHECK (backoff_seconds >= 0),
    longest_backoff_seconds double precision NOT NULL CHECK (longest_backoff_seconds >= 0),
    announces               boolean NOT NULL,
    PRIMARY KEY (agent, kind)
) WITH (fillfactor = 50);

-- One row, another value with every change of a kind: who enqueues by what it remembers is found out by it.
CREATE TABLE dataswarm.task_kinds_version (version uuid NOT NULL) WITH (fillfactor = 10);
INSERT INTO dataswarm.task_kinds_version VALUES (gen_random_uuid());

-- `tasks` holds what can run now or is running, and nothing else; one sequence numbers a task through all four tables.
-- Lease, worker and token stand in no index and no predicate: claim and heartbeat are HOT updates. A page holds its
-- rows twice, the second time longer by the lease, hence the low fillfactor. A payload that is NULL is in `task_blobs`.

CREATE SEQUENCE dataswarm.task_ids CACHE 1;
CREATE TABLE dataswarm.tasks (
    id               bigint PRIMARY KEY,
    agent            text NOT NULL,
    kind             text NOT NULL,
    subject          text NOT NULL,
    payload          jsonb,
    priority         int NOT NULL,
    attempt          int NOT NULL,
    max_attempts     int NOT NULL,
    deadline_seconds double precision NOT NULL,
    created_at       timestamptz NOT NULL,
    ready_at         timestamptz NOT NULL,
    key              text,
    key_outlives     boolean NOT NULL,
    exclusive        boolean NOT NULL,
    announces        boolean NOT NULL,
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
-- An expression, so that only the primary key can find tasks by their ids: while the table counts as empty (vacuumed
-- between two backlogs) the planner would walk this index from end to end for them.
CREATE INDEX tasks_queue ON dataswarm.tasks (agent, kind, priority DESC, (id + 0));

-- What cannot run now: later, backing off, its subject taken, its kind's limit reached. Never seen by a claim.
CREATE TABLE dataswarm.tasks_scheduled (
    id               bigint PRIMARY KEY,
    agent            text NOT NULL,
    kind             text NOT NULL,
    subject          text NOT NULL,
    payload          jsonb,
    priority         int NOT NULL,
    attempt          int NOT NULL,
    max_attempts     int NOT NULL,
    deadline_seconds double precision NOT NULL,
    created_at       timestamptz NOT NULL,
    key              text,
    key_outlives     boolean NOT NULL,
    exclusive        boolean NOT NULL,
    announces        boolean NOT NULL,
    incident_id      bigint,
    error            text NOT NULL,
    reason           text NOT NULL CHECK (reason IN ('later', 'backoff', 'limit', 'subject')),
    due_at           timestamptz,
    CHECK ((due_at IS NULL) = (reason IN ('limit', 'subject')))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
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
    payload          jsonb,
    priority         int NOT NULL,
    attempt          int NOT NULL,
    max_attempts     int NOT NULL,
    deadline_seconds double precision NOT NULL,
    created_at       timestamptz NOT NULL,
    key              text,
    key_outlives     boolean NOT NULL,
    exclusive        boolean NOT NULL,
    announces        boolean NOT NULL,
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
    payload          jsonb,
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

-- Payloads over eight kilobytes: written once, whatever becomes of the task, and forgotten when nothing names them.
CREATE TABLE dataswarm.task_blobs (
    task_id bigint PRIMARY KEY,
    body    text NOT NULL,
    at      timestamptz NOT NULL
);
ALTER TABLE dataswarm.task_blobs ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX task_blobs_time ON dataswarm.task_blobs USING brin (at);

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
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
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
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

GRANT SELECT, INSERT, UPDATE, DELETE ON
    dataswarm.keys, dataswarm.agents, dataswarm.processes, dataswarm.tasks, dataswarm.tasks_scheduled,
    dataswarm.tasks_dead, dataswarm.task_blobs, dataswarm.timers, dataswarm.steps, dataswarm.effects
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT ON dataswarm.events, dataswarm.tasks_history
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE ON dataswarm.task_kinds TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, UPDATE ON dataswarm.task_kinds_version TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE ON dataswarm.counters TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT ON dataswarm.partitioned TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT USAGE ON SEQUENCE dataswarm.event_ids, dataswarm.task_ids
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;

INSERT INTO dataswarm.partitioned (parent, retention_days) VALUES ('events', 14), ('tasks_history', 30);
-- Enough to begin with; the first round of maintenance makes a week.
SELECT dataswarm.make_partitions(parent, (statement_timestamp() AT TIME ZONE 'UTC')::date - 1, 3)
FROM dataswarm.partitioned;
