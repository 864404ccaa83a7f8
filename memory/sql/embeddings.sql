-- Vectors, filled in later by a queue.

-- name: add_embedding_model
-- index: embedding_models primary key; documents primary key
SELECT dataswarm.add_embedding_model(
    %(model)s::text, %(dimensions)s::integer, coalesce(%(now)s::timestamptz, statement_timestamp())
) AS added;

-- name: embedding_models
-- index: embedding_models primary key
SELECT name, dimensions, state FROM dataswarm.embedding_models ORDER BY name;

-- name: claim_embeddings
-- index: embedding_queue_due (model, not_before)
WITH due AS (
    SELECT q.model, q.document_id FROM dataswarm.embedding_queue q
    WHERE q.model = %(model)s::text AND q.not_before <= coalesce(%(now)s::timestamptz, statement_timestamp())
    ORDER BY q.not_before, q.document_id LIMIT %(limit)s::integer
    FOR UPDATE SKIP LOCKED
)
UPDATE dataswarm.embedding_queue q SET
    attempts = q.attempts + 1,
    not_before = coalesce(%(now)s::timestamptz, statement_timestamp())
                 + make_interval(secs => %(lease_seconds)s::float8)
FROM due, dataswarm.documents d
WHERE q.model = due.model AND q.document_id = due.document_id AND d.id = q.document_id
RETURNING q.document_id, q.attempts, d.text;

-- name: store_embeddings
-- index: embeddings primary key (document_id, model); embedding_queue primary key
WITH given AS (
    SELECT n.document_id, n.vector::public.halfvec AS embedding, d.at, d.importance, d.sensitivity, d.noun, d.agent,
           d.kind, d.subject, d.whole, d.branch
    FROM unnest(%(ids)s::bigint[], %(texts)s::text[], %(vectors)s::text[]) AS n (document_id, text, vector)
    JOIN dataswarm.documents d ON d.id = n.document_id AND d.text = n.text
), stored AS (
    INSERT INTO dataswarm.embeddings (
        model, document_id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch, embedding
    )
    SELECT %(model)s::text, document_id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch,
           embedding
    FROM given
    ON CONFLICT (model, document_id) DO UPDATE SET
        embedding = EXCLUDED.embedding, at = EXCLUDED.at, importance = EXCLUDED.importance,
        sensitivity = EXCLUDED.sensitivity, branch = EXCLUDED.branch
    RETURNING document_id
)
DELETE FROM dataswarm.embedding_queue q USING stored s
WHERE q.model = %(model)s::text AND q.document_id = s.document_id;

-- name: fail_embeddings
-- index: embedding_queue primary key
UPDATE dataswarm.embedding_queue SET
    error = %(error)s::text,
    not_before = coalesce(%(now)s::timestamptz, statement_timestamp()) + make_interval(secs => %(seconds)s::float8)
WHERE model = %(model)s::text AND document_id = ANY (%(ids)s::bigint[]);

-- name: embedding_share
-- index: embedding_models primary key; embedding_queue_due (model, not_before); counted only while it is filled
SELECT m.state, 1 - p.pending::float8 / greatest(t.documents, p.embedded + p.pending, 1) AS share
FROM dataswarm.embedding_models m, dataswarm.lexeme_totals t, LATERAL (
    SELECT (SELECT count(*) FROM dataswarm.embedding_queue q WHERE q.model = m.name AND m.state = 'filling') AS pending,
           (SELECT count(*) FROM (
                SELECT FROM dataswarm.embeddings e WHERE e.model = m.name AND m.state = 'filling' LIMIT 1000
            ) few) AS embedded
) p
WHERE m.name = %(model)s::text;

-- name: serve_embedding_model
-- index: embedding_models primary key; the partitions of the models before it are dropped
SELECT dataswarm.serve_embedding_model(%(model)s::text) AS began;

-- name: embedding_coverage
-- index: embeddings primary key; embedding_queue_due, _failing and _oldest (model, …)
SELECT m.name AS model,
       CASE WHEN counted.number < %(most)s::integer THEN counted.number
            ELSE greatest(counted.number, estimated.number) END AS embedded,
       (SELECT count(*) FROM (
            SELECT FROM dataswarm.embedding_queue q WHERE q.model = m.name LIMIT %(most)s::integer
        ) q) AS pending,
       (SELECT count(*) FROM (
            SELECT FROM dataswarm.embedding_queue q WHERE q.model = m.name AND q.error <> '' LIMIT %(most)s::integer
        ) q) AS failing,
       (SELECT extract(epoch FROM coalesce(%(now)s::timestamptz, statement_timestamp()) - min(q.queued_at))
        FROM dataswarm.embedding_queue q WHERE q.model = m.name)::float8 AS oldest_pending_seconds
FROM dataswarm.embedding_models m, LATERAL (
    SELECT count(*) AS number FROM (
        SELECT FROM dataswarm.embeddings e WHERE e.model = m.name LIMIT %(most)s::integer
    ) e
) counted, LATERAL (
    SELECT coalesce(max(c.reltuples), 0)::bigint AS number FROM pg_class c
    WHERE c.relnamespace = to_regnamespace('dataswarm') AND c.relname = m.part
) estimated
ORDER BY m.name;
