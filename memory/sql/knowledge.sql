-- Facts with versions, and what was learned.

-- name: write_fact
-- index: knowledge primary key; knowledge_revisions primary key; documents (noun, ref)
WITH base AS (
    SELECT i.version, i.retracted
    FROM dataswarm.inherited(%(branch)s::text, %(subject)s::text, %(predicate)s::text) i
), found AS (
    SELECT coalesce((SELECT version FROM base), 0) AS version,
           coalesce((SELECT retracted FROM base), true) AS absent,
           EXISTS (
               SELECT FROM dataswarm.knowledge
               WHERE branch = %(branch)s::text AND subject = %(subject)s::text AND predicate = %(predicate)s::text
           ) AS own
), written AS (
    INSERT INTO dataswarm.knowledge AS k (
        branch, subject, predicate, object, version, agent, confidence, sensitivity, source, evidence, valid_from,
        retracted, reason, keyed
    )
    SELECT %(branch)s::text, %(subject)s::text, %(predicate)s::text, %(object)s::jsonb, found.version + 1,
           %(agent)s::text, %(confidence)s::float8, %(sensitivity)s::smallint, %(source)s::text, %(evidence)s::jsonb,
           coalesce(%(now)s::timestamptz, statement_timestamp()), %(retracted)s::boolean, %(reason)s::text,
           %(keyed)s::text
    FROM found
    WHERE found.own OR %(expected)s::integer IS NULL OR found.version = %(expected)s::integer
       OR (%(expected)s::integer = 0 AND found.absent)
    ON CONFLICT (branch, subject, predicate) DO UPDATE SET
        object = EXCLUDED.object, version = k.version + 1, agent = EXCLUDED.agent, confidence = EXCLUDED.confidence,
        sensitivity = EXCLUDED.sensitivity, source = EXCLUDED.source, evidence = EXCLUDED.evidence,
        valid_from = EXCLUDED.valid_from, retracted = EXCLUDED.retracted, reason = EXCLUDED.reason,
        keyed = EXCLUDED.keyed
    WHERE (%(expected)s::integer IS NULL OR k.version = %(expected)s::integer
           OR (%(expected)s::integer = 0 AND k.retracted))
      AND (CASE WHEN k.keyed IS NULL THEN k.object END, k.keyed, k.confidence, k.sensitivity, k.source, k.retracted)
          IS DISTINCT FROM
          (CASE WHEN EXCLUDED.keyed IS NULL THEN EXCLUDED.object END, EXCLUDED.keyed, EXCLUDED.confidence,
           EXCLUDED.sensitivity, EXCLUDED.source, EXCLUDED.retracted)
    RETURNING k.*
), revised AS (
    INSERT INTO dataswarm.knowledge_revisions (
        branch, subject, predicate, object, version, agent, confidence, sensitivity, source, evidence, valid_from,
        retracted, reason, keyed
    )
    SELECT branch, subject, predicate, object, version, agent, confidence, sensitivity, source, evidence, valid_from,
           retracted, reason, keyed
    FROM written
), findable AS (
    INSERT INTO dataswarm.documents (noun, ref, at, agent, kind, subject, whole, sensitivity, text, branch)
    SELECT 'fact', id, valid_from, agent, predicate, subject, %(whole)s::text, sensitivity, %(text)s::text, branch
    FROM written WHERE NOT retracted
    ON CONFLICT (noun, ref) DO UPDATE SET
        at = EXCLUDED.at, agent = EXCLUDED.agent, sensitivity = EXCLUDED.sensitivity, text = EXCLUDED.text
), gone AS (
    DELETE FROM dataswarm.documents
    WHERE noun = 'fact' AND ref IN (SELECT id FROM written WHERE retracted)
)
SELECT * FROM written;

-- name: version_of_fact
-- index: knowledge_revisions primary key
SELECT dataswarm.version_of(%(branch)s::text, %(subject)s::text, %(predicate)s::text) AS version;

-- name: fact
-- index: knowledge primary key
SELECT * FROM dataswarm.knowledge
WHERE branch = 'main' AND subject = %(subject)s::text AND predicate = %(predicate)s::text;

-- name: fact_by_id
-- index: knowledge (id)
SELECT * FROM dataswarm.knowledge WHERE id = %(id)s::bigint;

-- name: belief
-- index: knowledge_revisions primary key
SELECT * FROM dataswarm.beliefs(
    %(branch)s::text, NULL, %(at)s::timestamptz, %(subject)s::text, %(predicate)s::text
);

-- name: facts
-- index: knowledge_subject (subject collate "C"), the main line alone
SELECT * FROM dataswarm.knowledge
WHERE branch = 'main' AND NOT retracted
  AND subject COLLATE "C" >= %(first)s::text AND subject COLLATE "C" <= %(last)s::text
  AND (%(subjects)s::text IS NULL OR subject ~ %(subjects)s::text)
  AND (%(predicate)s::text IS NULL OR predicate = %(predicate)s::text)
ORDER BY subject, predicate LIMIT %(limit)s::integer;

-- name: beliefs
-- index: knowledge_revisions primary key
SELECT * FROM dataswarm.beliefs(%(branch)s::text, NULL, %(at)s::timestamptz, NULL, %(predicate)s::text)
WHERE NOT retracted AND (%(subjects)s::text IS NULL OR subject ~ %(subjects)s::text)
ORDER BY subject, predicate LIMIT %(limit)s::integer;

-- name: fact_history
-- index: knowledge_revisions primary key
SELECT * FROM dataswarm.knowledge_revisions
WHERE branch = %(branch)s::text AND subject = %(subject)s::text AND predicate = %(predicate)s::text
ORDER BY version;

-- name: learn
-- index: learnings primary key; documents (noun, ref)
WITH learned AS (
    INSERT INTO dataswarm.learnings (
        at, agent, signal, playbook, cause, subject, text, circumstances, sensitivity
    )
    VALUES (
        coalesce(%(now)s::timestamptz, statement_timestamp()), %(agent)s::text, %(signal)s::text, %(playbook)s::text,
        %(cause)s::text, %(subject)s::text, %(text)s::text, %(circumstances)s::jsonb, %(sensitivity)s::smallint
    )
    RETURNING *
), findable AS (
    INSERT INTO dataswarm.documents (noun, ref, at, agent, kind, subject, whole, sensitivity, text)
    SELECT 'learning', id, at, agent, signal, subject, %(whole)s::text, sensitivity, %(words)s::text FROM learned
)
SELECT id FROM learned;

-- name: learnings
-- index: learnings_outcome (playbook, cause, signal), or the primary key backwards
SELECT id, at, agent, signal, playbook, cause, subject, text, circumstances, sensitivity FROM dataswarm.learnings
WHERE (%(playbook)s::text IS NULL OR playbook = %(playbook)s::text)
  AND (%(cause)s::text IS NULL OR cause = %(cause)s::text)
  AND (%(signal)s::text IS NULL OR signal = %(signal)s::text)
  AND (%(subjects)s::text IS NULL OR subject ~ %(subjects)s::text)
ORDER BY id DESC LIMIT %(limit)s::integer;

-- name: success_rate
-- index: learnings_outcome (playbook, cause, signal)
SELECT count(*) FILTER (WHERE signal = 'success') AS successes, count(*) AS tries
FROM dataswarm.learnings
WHERE playbook = %(playbook)s::text AND cause = %(cause)s::text AND signal IN ('success', 'failure');
