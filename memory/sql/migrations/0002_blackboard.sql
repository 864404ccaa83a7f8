-- phase: expand
-- summary: what is seen, decided, opened, remedied, learned and believed; who may read it; how it is found

-- The blackboard: what was seen, decided, opened, remedied, learned and believed; who may read it; how it is found.
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

-- Words of a text as they are searched: identifiers are found whole and by their parts (`public.orders.customer_id`,
-- `stg_payments`, `customerId`), everything else by its stem. Separators are named one by one, not by class, so that
-- letters of every script survive in a database of the C locale.
CREATE FUNCTION dataswarm.lexemes(words text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_tsvector(
               'english',
               regexp_replace(
                   regexp_replace(left(words, 100000), '([a-z0-9])([A-Z])', '\1 \2', 'g'),
                   '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'
               )
           )
           || array_to_tsvector(ARRAY(
                  SELECT DISTINCT lower(found[1])
                  FROM regexp_matches(
                      left(words, 100000),
                      '([^\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+(?:[._-][^\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+)+)',
                      'g'
                  ) AS found
                  WHERE length(found[1]) <= 200
              ))
$$;

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
CREATE INDEX observations_whole ON dataswarm.observations (whole, at DESC, id DESC);

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

CREATE TABLE dataswarm.baselines (
    agent   text NOT NULL,
    source  text NOT NULL,
    version integer NOT NULL,
    value   jsonb NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (agent, source)
);

-- ------------------------------------------------------------------------------------------------ semantic: knowledge

-- A point of memory. What it covers is what `snapshot` sees, and of the transaction that took it the revisions up to
-- `revision`: exact under any number of concurrent writers, where a time or an id would not be.
CREATE TABLE dataswarm.snapshots (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    branch   text NOT NULL,
    name     text,                      -- NULL: taken by a fork
    at       timestamptz NOT NULL,
    by       text NOT NULL,
    snapshot pg_snapshot NOT NULL,
    xid      xid8 NOT NULL,
    revision bigint NOT NULL
);
CREATE UNIQUE INDEX snapshots_name ON dataswarm.snapshots (branch, name) WHERE name IS NOT NULL;

CREATE TABLE dataswarm.branches (
    name        text PRIMARY KEY,
    forked_from bigint REFERENCES dataswarm.snapshots,   -- NULL: main
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'merged')),
    by          text NOT NULL,
    at          timestamptz NOT NULL,
    CHECK ((name = 'main') = (forked_from IS NULL))
);
ALTER TABLE dataswarm.snapshots ADD FOREIGN KEY (branch) REFERENCES dataswarm.branches (name);
INSERT INTO dataswarm.branches (name, by, at) VALUES ('main', 'dataswarm', statement_timestamp());

-- What is held now, per branch: a branch has rows only for what was written on it.
CREATE TABLE dataswarm.knowledge (
    id          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    branch      text NOT NULL REFERENCES dataswarm.branches (name),
    subject     text NOT NULL,
    predicate   text NOT NULL,
    object      jsonb NOT NULL,
    version     integer NOT NULL,
    agent       text NOT NULL,
    confidence  double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    sensitivity smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    source      text NOT NULL,
    evidence    jsonb NOT NULL,
    valid_from  timestamptz NOT NULL,
    retracted   boolean NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (branch, subject, predicate)
) WITH (fillfactor = 70);

-- Snapshots draw from the same sequence, so that a transaction's own revisions lie before or after its own snapshot.
CREATE SEQUENCE dataswarm.revision_ids CACHE 1;
CREATE TABLE dataswarm.knowledge_revisions (
    id          bigint NOT NULL DEFAULT nextval('dataswarm.revision_ids') UNIQUE,
    branch      text NOT NULL,
    subject     text NOT NULL,
    predicate   text NOT NULL,
    object      jsonb NOT NULL,
    version     integer NOT NULL,
    agent       text NOT NULL,
    confidence  double precision NOT NULL,
    sensitivity smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    source      text NOT NULL,
    evidence    jsonb NOT NULL,
    valid_from  timestamptz NOT NULL,
    retracted   boolean NOT NULL,
    reason      text NOT NULL,
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (branch, subject, predicate, version)
);

-- Heads of facts as a branch sees them, whatever their sensitivity: the newest revision on the branch itself, else on
-- its parent as of the fork, and so on. `point` is a snapshot of the branch (NULL: its tip), `as_of` a time. For the
-- functions below alone: nobody else may call it.
CREATE FUNCTION dataswarm.heads(
    on_branch text, point bigint, as_of timestamptz, of_subject text, of_predicate text
) RETURNS SETOF dataswarm.knowledge_revisions
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE line AS (
        SELECT b.name, b.forked_from, 0 AS depth, s.snapshot, s.xid, s.revision
        FROM dataswarm.branches b
        LEFT JOIN dataswarm.snapshots s ON s.id = point
        WHERE b.name = on_branch
        UNION ALL
        SELECT p.name, p.forked_from, l.depth + 1, f.snapshot, f.xid, f.revision
        FROM line l
        JOIN dataswarm.snapshots f ON f.id = l.forked_from
        JOIN dataswarm.branches p ON p.name = f.branch
    ), newest AS (
        SELECT DISTINCT ON (r.subject, r.predicate) r.id
        FROM line l
        JOIN dataswarm.knowledge_revisions r ON r.branch = l.name
        WHERE (of_subject IS NULL OR r.subject = of_subject)
          AND (of_predicate IS NULL OR r.predicate = of_predicate)
          AND (as_of IS NULL OR r.valid_from <= as_of)
          AND (l.snapshot IS NULL
               OR CASE WHEN r.xid = l.xid THEN r.id <= l.revision
                       ELSE pg_visible_in_snapshot(r.xid, l.snapshot) END)
        ORDER BY r.subject, r.predicate, l.depth, r.version DESC
    )
    SELECT r.* FROM newest JOIN dataswarm.knowledge_revisions r USING (id)
$$;
REVOKE EXECUTE ON FUNCTION dataswarm.heads(text, bigint, timestamptz, text, text) FROM PUBLIC;

-- What the session may know of those heads. A head above its clearance is left out; an older revision below it never
-- comes back in its place, as it would under a policy on the revisions.
CREATE FUNCTION dataswarm.beliefs(
    on_branch text, point bigint, as_of timestamptz, of_subject text, of_predicate text
) RETURNS SETOF dataswarm.knowledge_revisions
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.* FROM dataswarm.heads(on_branch, point, as_of, of_subject, of_predicate) h
    WHERE h.sensitivity <= dataswarm.clearance()
$$;

-- The version a branch inherits for one fact (no row: none). Says nothing of its content; above the session's
-- clearance it refuses, so that nobody overlays what they may not read.
CREATE FUNCTION dataswarm.inherited(on_branch text, of_subject text, of_predicate text)
RETURNS TABLE (version integer, retracted boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head record;
BEGIN
    IF on_branch = 'main' THEN
        RETURN;
    END IF;
    SELECT h.version, h.retracted, h.sensitivity INTO head
    FROM dataswarm.branches b
    JOIN dataswarm.snapshots f ON f.id = b.forked_from,
    LATERAL dataswarm.heads(f.branch, f.id, NULL, of_subject, of_predicate) h
    WHERE b.name = on_branch;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF head.sensitivity > dataswarm.clearance() THEN
        RAISE insufficient_privilege USING MESSAGE = 'hidden by row-level security: a fact above the clearance of this session';
    END IF;
    version := head.version;
    retracted := head.retracted;
    RETURN NEXT;
END
$$;

-- The version now held, for the message of a conflict: 0 where there is none.
CREATE FUNCTION dataswarm.version_of(on_branch text, of_subject text, of_predicate text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT h.version FROM dataswarm.heads(on_branch, NULL, NULL, of_subject, of_predicate) h), 0
    )
$$;

-- How many facts written on a branch the session may not see: a merge or a roll-back must see them all.
CREATE FUNCTION dataswarm.hidden_facts(on_branch text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) FROM dataswarm.knowledge k
    WHERE k.branch = on_branch AND k.sensitivity > dataswarm.clearance()
$$;

CREATE TABLE dataswarm.learnings (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,
    agent         text NOT NULL,
    signal        text NOT NULL CHECK (signal IN ('success', 'failure', 'pattern', 'recommendation')),
    playbook      text NOT NULL,
    cause         text NOT NULL,
    subject       text NOT NULL,
    text          text NOT NULL,
    circumstances jsonb NOT NULL,
    sensitivity   smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2)
);
CREATE INDEX learnings_outcome ON dataswarm.learnings (playbook, cause, signal);

-- ------------------------------------------------------------------------------------------------ recall

-- One row for whatever can be found: a narrow copy of the filter columns and, unless confidential, its words.
CREATE TABLE dataswarm.documents (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    noun        text NOT NULL CHECK (noun IN ('observation', 'decision', 'fact', 'learning')),
    ref         bigint NOT NULL,
    at          timestamptz NOT NULL,
    agent       text NOT NULL,
    kind        text NOT NULL,
    subject     text NOT NULL,
    whole       text NOT NULL,
    sensitivity smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    text        text,
    lexemes     tsvector GENERATED ALWAYS AS (dataswarm.lexemes(text)) STORED,
    UNIQUE (noun, ref),
    CHECK (sensitivity < 2 OR text IS NULL)
);
CREATE INDEX documents_lexemes ON dataswarm.documents USING gin (lexemes);
CREATE INDEX documents_whole ON dataswarm.documents (whole, at DESC);
CREATE INDEX documents_at ON dataswarm.documents (at DESC);

CREATE TABLE dataswarm.embedding_models (
    name       text PRIMARY KEY,
    dimensions integer NOT NULL CHECK (dimensions BETWEEN 1 AND 16000),
    state      text NOT NULL CHECK (state IN ('filling', 'serving')),
    at         timestamptz NOT NULL
);

-- One partition a model, made by add_embedding_model. A missing row is pending.
CREATE TABLE dataswarm.embeddings (
    model       text NOT NULL,
    document_id bigint NOT NULL,
    sensitivity smallint NOT NULL CHECK (sensitivity < 2),
    embedding   public.halfvec NOT NULL,
    PRIMARY KEY (model, document_id),
    FOREIGN KEY (document_id) REFERENCES dataswarm.documents ON DELETE CASCADE
) PARTITION BY LIST (model);

CREATE TABLE dataswarm.embedding_queue (
    model       text NOT NULL REFERENCES dataswarm.embedding_models ON DELETE CASCADE,
    document_id bigint NOT NULL REFERENCES dataswarm.documents ON DELETE CASCADE,
    queued_at   timestamptz NOT NULL,
    not_before  timestamptz NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    error       text NOT NULL DEFAULT '',
    PRIMARY KEY (model, document_id)
);
CREATE INDEX embedding_queue_due ON dataswarm.embedding_queue (model, not_before);
CREATE INDEX embedding_queue_oldest ON dataswarm.embedding_queue (model, queued_at);

-- Every text that is new or has changed waits for its vector; without a model nothing is queued.
CREATE FUNCTION dataswarm.queue_embeddings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM dataswarm.embeddings e USING changed c WHERE e.document_id = c.id;
    END IF;
    INSERT INTO dataswarm.embedding_queue (model, document_id, queued_at, not_before)
    SELECT m.name, c.id, c.at, c.at
    FROM changed c CROSS JOIN dataswarm.embedding_models m
    WHERE c.text IS NOT NULL
    ON CONFLICT (model, document_id) DO UPDATE SET attempts = 0, error = '', not_before = EXCLUDED.not_before;
    RETURN NULL;
END
$$;
CREATE TRIGGER documents_new AFTER INSERT ON dataswarm.documents
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.queue_embeddings();
CREATE TRIGGER documents_changed AFTER UPDATE ON dataswarm.documents
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.queue_embeddings();

-- Make room for a model: its partition, its index (up to 4,000 dimensions), and everything known queued. False where
-- the model is there already with these dimensions.
CREATE FUNCTION dataswarm.add_embedding_model(model_name text, model_dimensions integer, moment timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    known integer;
    part text := 'embeddings_' || substr(md5(model_name), 1, 16);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('dataswarm.embedding_models', 0));
    SELECT dimensions INTO known FROM dataswarm.embedding_models WHERE name = model_name;
    IF known = model_dimensions THEN
        RETURN false;
    ELSIF known IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE =
            format('the model has %s dimensions here, not %s', known, model_dimensions);
    END IF;
    INSERT INTO dataswarm.embedding_models VALUES (model_name, model_dimensions, 'filling', moment);
    EXECUTE format('CREATE TABLE dataswarm.%I PARTITION OF dataswarm.embeddings FOR VALUES IN (%L)', part, model_name);
    EXECUTE format('ALTER TABLE dataswarm.%I ADD CHECK (vector_dims(embedding) = %s)', part, model_dimensions);
    IF model_dimensions <= 4000 THEN
        EXECUTE format(
            'CREATE INDEX ON dataswarm.%I USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops)',
            part, model_dimensions
        );
    END IF;
    INSERT INTO dataswarm.embedding_queue (model, document_id, queued_at, not_before)
    SELECT model_name, d.id, moment, moment FROM dataswarm.documents d WHERE d.text IS NOT NULL;
    RETURN true;
END
$$;

-- Documents by true BM25 over lexemes, best first. Clearance is filtered here, explicitly: under a policy the full-text
-- index could not be used. Rarest words first; candidates are cut at 5,000 (index: documents_lexemes).
CREATE FUNCTION dataswarm.recall_words(
    query text, nouns text[], kinds text, of_whole text, subjects text, since timestamptz, agents text[], most integer
) RETURNS TABLE (document_id bigint, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan -- which filters are given decides the plan
AS $$
DECLARE
    cut CONSTANT integer := 5000;
    k1 CONSTANT double precision := 1.2;
    b CONSTANT double precision := 0.75;
    v_reach smallint := dataswarm.clearance();
    v_total double precision;
    v_usual double precision;
    v_words text[];
    v_weights double precision[];
    v_wanted tsquery;
BEGIN
    SELECT greatest(coalesce(c.reltuples, 0), n.few) INTO v_total
    FROM pg_class c, (SELECT count(*) AS few FROM (SELECT FROM dataswarm.documents LIMIT 10000) first_rows) n
    WHERE c.oid = 'dataswarm.documents'::regclass;
    SELECT greatest(avg(length(recent.lexemes)), 1) INTO v_usual
    FROM (SELECT d.lexemes FROM dataswarm.documents d WHERE d.text IS NOT NULL ORDER BY d.id DESC LIMIT 500) recent;

    WITH terms AS (
        SELECT t.lexeme, ('''' || replace(t.lexeme, '''', '''''') || '''')::tsquery AS term
        FROM unnest(dataswarm.lexemes(query)) t
    ), frequencies AS (
        SELECT t.lexeme, t.term, (
            SELECT count(*) FROM (
                SELECT FROM dataswarm.documents d WHERE d.lexemes @@ t.term LIMIT cut
            ) matching
        ) AS frequency
        FROM terms t
    ), ranked AS (
        SELECT f.*, sum(f.frequency) OVER (ORDER BY f.frequency, f.lexeme) AS reached,
               row_number() OVER (ORDER BY f.frequency, f.lexeme) AS place
        FROM frequencies f WHERE f.frequency > 0
    )
    SELECT array_agg(r.lexeme),
           array_agg(ln(1 + (greatest(v_total, r.frequency) - r.frequency + 0.5) / (r.frequency + 0.5))),
           string_agg(r.term::text, ' | ') FILTER (WHERE r.reached <= cut OR r.place = 1)
    INTO v_words, v_weights, v_wanted
    FROM ranked r;
    IF v_wanted IS NULL THEN
        RETURN;
    END IF;

    RETURN QUERY
    WITH candidates AS (
        SELECT d.id, d.at, d.lexemes, length(d.lexemes) AS size
        FROM dataswarm.documents d
        WHERE d.lexemes @@ v_wanted
          AND d.sensitivity <= v_reach
          AND (nouns IS NULL OR d.noun = ANY (nouns))
          AND (kinds IS NULL OR d.kind ~ kinds)
          AND (of_whole IS NULL OR d.whole = of_whole)
          AND (subjects IS NULL OR d.subject ~ subjects OR d.whole ~ subjects)
          AND (since IS NULL OR d.at >= since)
          AND (agents IS NULL OR d.agent = ANY (agents))
        LIMIT cut
    )
    SELECT c.id, sum(
        v_weights[array_position(v_words, u.lexeme)] * (k1 + 1) * greatest(coalesce(cardinality(u.positions), 1), 1)
        / (greatest(coalesce(cardinality(u.positions), 1), 1) + k1 * (1 - b + b * c.size / v_usual))
    ) AS score
    FROM candidates c, unnest(c.lexemes) u
    WHERE u.lexeme = ANY (v_words)
    GROUP BY c.id, c.at
    ORDER BY score DESC, c.at DESC, c.id DESC
    LIMIT most;
END
$$;

-- Documents nearest to a vector, exactly (a first form: the sequential plan is right for what one swarm writes in weeks).
CREATE FUNCTION dataswarm.recall_nearest(
    wanted public.halfvec, of_model text, nouns text[], kinds text, of_whole text, subjects text, since timestamptz,
    agents text[], most integer
) RETURNS TABLE (document_id bigint, score double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT d.id, 1 - (e.embedding <=> wanted)
    FROM dataswarm.embeddings e JOIN dataswarm.documents d ON d.id = e.document_id
    WHERE e.model = of_model
      AND d.sensitivity <= dataswarm.clearance()
      AND (nouns IS NULL OR d.noun = ANY (nouns))
      AND (kinds IS NULL OR d.kind ~ kinds)
      AND (of_whole IS NULL OR d.whole = of_whole)
      AND (subjects IS NULL OR d.subject ~ subjects OR d.whole ~ subjects)
      AND (since IS NULL OR d.at >= since)
      AND (agents IS NULL OR d.agent = ANY (agents))
    ORDER BY e.embedding <=> wanted, d.id
    LIMIT most
$$;

-- ------------------------------------------------------------------------------------------------ who read what

CREATE SEQUENCE dataswarm.access_ids;
CREATE TABLE dataswarm.access_log (
    id   bigint NOT NULL DEFAULT nextval('dataswarm.access_ids'),
    at   timestamptz NOT NULL,
    who  text NOT NULL,
    verb text NOT NULL,
    noun text NOT NULL,
    ref  text NOT NULL,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX access_log_who ON dataswarm.access_log (who, at DESC);
CREATE INDEX access_log_ref ON dataswarm.access_log (noun, ref, at DESC);

INSERT INTO dataswarm.partitioned (parent, retention_days)
VALUES ('observations', 90), ('decisions', 180), ('access_log', 30);
SELECT dataswarm.make_partitions(parent, (statement_timestamp() AT TIME ZONE 'UTC')::date - 1, 3)
FROM dataswarm.partitioned WHERE parent IN ('observations', 'decisions', 'access_log');

-- ------------------------------------------------------------------------------------------------ rights

-- The first wall: what each role may do at all. Nothing here may be deleted but what is a mere derivative.
GRANT SELECT, INSERT ON
    dataswarm.observations, dataswarm.decisions, dataswarm.supersessions, dataswarm.incident_members,
    dataswarm.incident_transitions, dataswarm.kill_switch, dataswarm.planned_changes, dataswarm.snapshots,
    dataswarm.knowledge_revisions, dataswarm.learnings, dataswarm.access_log
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE ON
    dataswarm.incidents, dataswarm.remediations, dataswarm.approvals, dataswarm.escalations, dataswarm.silences,
    dataswarm.baselines, dataswarm.knowledge, dataswarm.branches
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    dataswarm.caps, dataswarm.lineage, dataswarm.documents, dataswarm.embeddings, dataswarm.embedding_models,
    dataswarm.embedding_queue
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT USAGE ON SEQUENCE dataswarm.observation_ids, dataswarm.decision_ids, dataswarm.access_ids, dataswarm.revision_ids
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;

-- The second wall: rows above the clearance do not exist for a role, to read or to write. It stops mistakes, not
-- hostile code in the process, which may take any of the roles.
DO $$
DECLARE
    noun text;
    wall record;
BEGIN
    FOREACH noun IN ARRAY ARRAY[
        'observations', 'decisions', 'knowledge', 'knowledge_revisions', 'learnings', 'documents', 'embeddings'
    ] LOOP
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
    END LOOP;
END
$$;
