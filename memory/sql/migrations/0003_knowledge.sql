-- phase: expand
-- summary: what is believed: versioned facts, snapshots, branches, rehearsals; the keys of what is confidential

-- ------------------------------------------------------------------------------------------------ data keys

-- What is confidential stands in its row as ciphertext, `{"sealed": <data key>, "box": …}`; its data key stands here,
-- wrapped by a key that this database never sees. Changing that key rewrites these rows and nothing else; deleting one
-- makes its item unreadable for good, in every backup too. The row of noun `hash` holds the key of keyed hashes.
CREATE TABLE dataswarm.data_keys (
    id      uuid PRIMARY KEY,
    key_id  text NOT NULL,          -- of the wrapping key
    wrapped bytea NOT NULL,
    noun    text NOT NULL CHECK (noun IN ('hash', 'observation', 'decision', 'fact', 'learning', 'step', 'baseline')),
    at      timestamptz NOT NULL
);
CREATE INDEX data_keys_wrapping ON dataswarm.data_keys (key_id, id);
CREATE INDEX data_keys_age ON dataswarm.data_keys (noun, at);

ALTER TABLE dataswarm.observations ADD CONSTRAINT observations_sealed
    CHECK (sensitivity < 2 OR payload ? 'sealed');
ALTER TABLE dataswarm.decisions ADD CONSTRAINT decisions_sealed
    CHECK (sensitivity < 2 OR (payload ? 'sealed' AND rationale = '' AND alternatives = '[]' AND transcript = '[]'));

-- ------------------------------------------------------------------------------------------------ semantic: knowledge

-- Which server the rows below were written on: transactions are numbered anew on another one. A restore begins an
-- era; what is older than a point's era lies before the point, whatever its number.
CREATE TABLE dataswarm.eras (
    era int PRIMARY KEY,
    at  timestamptz NOT NULL
);
INSERT INTO dataswarm.eras VALUES (1, statement_timestamp());
CREATE FUNCTION dataswarm.era() RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT max(era) FROM dataswarm.eras $$;

-- A point of memory. What it covers is what `snapshot` sees, and of the transaction that took it the revisions up to
-- `revision`: exact under any number of concurrent writers, where a time or an id would not be. With `as_of`, of that
-- only what was written up to this time.
CREATE TABLE dataswarm.snapshots (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    branch   text NOT NULL,
    name     text,                      -- NULL: taken by a fork
    at       timestamptz NOT NULL,
    by       text NOT NULL,
    snapshot pg_snapshot NOT NULL,
    xid      xid8 NOT NULL,
    revision bigint NOT NULL,
    era      int NOT NULL DEFAULT dataswarm.era(),
    as_of    timestamptz
);
CREATE UNIQUE INDEX snapshots_name ON dataswarm.snapshots (branch, name) WHERE name IS NOT NULL;

CREATE TABLE dataswarm.branches (
    name        text PRIMARY KEY,
    forked_from bigint REFERENCES dataswarm.snapshots,   -- NULL: main
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'merged', 'dropped')),
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
    keyed       text,                   -- of a confidential one: a keyed hash of what it says, to tell a repetition
    PRIMARY KEY (branch, subject, predicate),
    CONSTRAINT knowledge_sealed CHECK (
        CASE WHEN sensitivity < 2 THEN keyed IS NULL
             ELSE object ? 'sealed' AND keyed IS NOT NULL AND source = '' AND reason = '' END)
) WITH (fillfactor = 70);
CREATE INDEX knowledge_subject ON dataswarm.knowledge (subject COLLATE "C") WHERE branch = 'main';

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
    keyed       text,
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    era         int NOT NULL DEFAULT dataswarm.era(),
    PRIMARY KEY (branch, subject, predicate, version),
    CONSTRAINT knowledge_revisions_sealed CHECK (
        sensitivity < 2 OR (object ? 'sealed' AND keyed IS NOT NULL AND source = '' AND reason = ''))
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
        SELECT b.name, b.forked_from, 0 AS depth, s.snapshot, s.xid, s.revision, s.era, s.as_of
        FROM dataswarm.branches b
        LEFT JOIN dataswarm.snapshots s ON s.id = point
        WHERE b.name = on_branch
        UNION ALL
        SELECT p.name, p.forked_from, l.depth + 1, f.snapshot, f.xid, f.revision, f.era, f.as_of
        FROM line l
        JOIN dataswarm.snapshots f ON f.id = l.forked_from
        JOIN dataswarm.branches p ON p.name = f.branch
    ), newest AS (
        SELECT DISTINCT ON (r.subject, r.predicate) r.id
        FROM line l
        JOIN dataswarm.knowledge_revisions r ON r.branch = l.name
        WHERE (of_subject IS NULL OR r.subject = of_subject)
          AND (of_predicate IS NULL OR r.predicate = of_predicate)
          AND (heads.as_of IS NULL OR r.valid_from <= heads.as_of)
          AND (l.as_of IS NULL OR r.valid_from <= l.as_of)
          AND (l.snapshot IS NULL
               OR CASE WHEN r.era <> l.era THEN r.era < l.era
                       WHEN r.xid = l.xid THEN r.id <= l.revision
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

-- ------------------------------------------------------------------------------------------------ files

-- Files whose sections are facts (`note://source/path#section`), as they were when they were last read.
CREATE TABLE dataswarm.files (
    source      text NOT NULL,
    path        text NOT NULL,
    root        text NOT NULL,
    hash        text NOT NULL,
    sensitivity smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    at          timestamptz NOT NULL,
    PRIMARY KEY (source, path)
);

-- ------------------------------------------------------------------------------------------------ rehearsals

-- What an agent would have concluded from past events over a branch: never mixed with decisions, incidents or tasks.
CREATE TABLE dataswarm.rehearsals (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    branch text NOT NULL REFERENCES dataswarm.branches (name),
    agent  text NOT NULL,
    since  timestamptz NOT NULL,
    until  timestamptz NOT NULL,
    by     text NOT NULL,
    at     timestamptz NOT NULL
);
CREATE INDEX rehearsals_branch ON dataswarm.rehearsals (branch, id);

CREATE TABLE dataswarm.rehearsed_verdicts (
    rehearsal_id bigint NOT NULL REFERENCES dataswarm.rehearsals,
    place        int NOT NULL,
    event_id     bigint,             -- what it answers; NULL where it answers a batch
    verdict      text NOT NULL,      -- the word of the verdict: diagnose, act, escalate, …
    subject      text NOT NULL,
    cause        text NOT NULL,
    body         jsonb NOT NULL,
    sensitivity  smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 1), -- over confidential evidence none is kept
    PRIMARY KEY (rehearsal_id, place)
);

-- ------------------------------------------------------------------------------------------------ rights

GRANT SELECT, INSERT ON
    dataswarm.snapshots, dataswarm.knowledge_revisions, dataswarm.branches, dataswarm.rehearsals,
    dataswarm.rehearsed_verdicts
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE, DELETE ON dataswarm.files
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE ON dataswarm.knowledge
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
-- The state alone: where a branch was forked from never changes, so branches cannot form a cycle.
GRANT UPDATE (state) ON dataswarm.branches TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT ON dataswarm.eras TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE, DELETE ON dataswarm.data_keys TO dataswarm_confidential;
GRANT USAGE ON SEQUENCE dataswarm.revision_ids
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
SELECT dataswarm.wall(noun) FROM unnest(ARRAY['knowledge', 'knowledge_revisions', 'rehearsed_verdicts']) AS noun;
