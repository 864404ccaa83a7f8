-- Points and lines of memory.

-- name: take_snapshot
-- index: snapshots_name (branch, name)
INSERT INTO dataswarm.snapshots (branch, name, at, by, snapshot, xid, revision, as_of)
VALUES (
    %(branch)s::text, %(name)s::text, coalesce(%(now)s::timestamptz, statement_timestamp()), %(by)s::text,
    pg_current_snapshot(), pg_current_xact_id(), nextval('dataswarm.revision_ids'),
    %(as_of)s::timestamptz
)
RETURNING id, branch, name, at, by, as_of;

-- name: snapshots
-- index: snapshots primary key
SELECT id, branch, name, at, by, as_of FROM dataswarm.snapshots
WHERE name IS NOT NULL AND (%(branch)s::text IS NULL OR branch = %(branch)s::text) ORDER BY id;

-- name: snapshot
-- index: snapshots_name (branch, name)
SELECT id, branch, name, at, by FROM dataswarm.snapshots WHERE branch = %(branch)s::text AND name = %(name)s::text;

-- name: branch
-- index: branches primary key; snapshots primary key
SELECT b.name, b.state, b.forked_from, s.branch AS parent, b.by, b.at
FROM dataswarm.branches b LEFT JOIN dataswarm.snapshots s ON s.id = b.forked_from
WHERE b.name = %(name)s::text;

-- name: branches
-- index: branches primary key
SELECT b.name, b.state, b.forked_from, s.branch AS parent, b.by, b.at
FROM dataswarm.branches b LEFT JOIN dataswarm.snapshots s ON s.id = b.forked_from
ORDER BY b.at, b.name;

-- name: fork_branch
-- index: branches primary key
INSERT INTO dataswarm.branches (name, forked_from, by, at)
VALUES (%(name)s::text, %(forked_from)s::bigint, %(by)s::text, coalesce(%(now)s::timestamptz, statement_timestamp()));

-- name: write_on_branch
-- index: branches primary key; a merge of it waits for us, and we for it
SELECT state FROM dataswarm.branches WHERE name = %(name)s::text FOR SHARE;

-- name: hold_branches
-- index: branches primary key
SELECT name, state FROM dataswarm.branches WHERE name = ANY (%(names)s::text[]) ORDER BY name FOR NO KEY UPDATE;

-- name: close_branch
-- index: branches primary key
UPDATE dataswarm.branches SET state = %(state)s::text WHERE name = %(name)s::text AND state = 'open';

-- name: hidden_facts
-- index: knowledge primary key
SELECT dataswarm.hidden_facts(%(branch)s::text) AS number;

-- name: compare_points
-- index: knowledge_revisions primary key
SELECT subject, predicate, l.id AS before, r.id AS after
FROM dataswarm.beliefs(
    %(left_branch)s::text, %(left_point)s::bigint, %(left_as_of)s::timestamptz, NULL, NULL
) l
FULL JOIN dataswarm.beliefs(
    %(right_branch)s::text, %(right_point)s::bigint, %(right_as_of)s::timestamptz, NULL, NULL
) r
    USING (subject, predicate)
WHERE l.id IS DISTINCT FROM r.id
ORDER BY subject, predicate;

-- name: merge_candidates
-- index: knowledge primary key; knowledge_revisions primary key
SELECT k.subject, k.predicate, t.id AS theirs, b.id AS base, o.id AS ours
FROM dataswarm.knowledge k
CROSS JOIN LATERAL dataswarm.beliefs(%(source)s::text, NULL, NULL, k.subject, k.predicate) t
LEFT JOIN LATERAL dataswarm.beliefs(%(target)s::text, %(point)s::bigint, NULL, k.subject, k.predicate) b ON true
LEFT JOIN LATERAL dataswarm.beliefs(%(target)s::text, NULL, NULL, k.subject, k.predicate) o ON true
WHERE k.branch = %(source)s::text
ORDER BY k.subject, k.predicate;

-- name: revisions
-- index: knowledge_revisions (id)
SELECT * FROM dataswarm.knowledge_revisions WHERE id = ANY (%(ids)s::bigint[]);
