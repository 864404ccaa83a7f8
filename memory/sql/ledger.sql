-- Observations and decisions: append-only, partitioned by day.

-- name: observe
-- index: keys primary key
WITH moment AS (
    SELECT coalesce(%(now)s::timestamptz, statement_timestamp()) AS at
), incoming AS (
    SELECT * FROM unnest(
        %(kinds)s::text[], %(subjects)s::text[], %(wholes)s::text[], %(severities)s::text[],
        %(importances)s::float8[], %(sensitivities)s::smallint[], %(payloads)s::text[], %(evidences)s::text[],
        %(hashes)s::text[], %(texts)s::text[], %(keys)s::text[]
    ) WITH ORDINALITY AS n (
        kind, subject, whole, severity, importance, sensitivity, payload, evidence, content_hash, text, key, place
    )
), taken AS (
    INSERT INTO dataswarm.keys (scope, key, holder, expires_at)
    SELECT %(scope)s::text, key, %(agent)s::text, at + interval '180 days'
    FROM incoming, moment WHERE key IS NOT NULL ORDER BY key
    ON CONFLICT (scope, key) DO UPDATE SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at
    WHERE keys.expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING key
), fresh AS MATERIALIZED (
    SELECT nextval('dataswarm.observation_ids') AS id, moment.at, incoming.*
    FROM incoming, moment
    WHERE incoming.key IS NULL OR incoming.key IN (SELECT key FROM taken)
), recorded AS (
    INSERT INTO dataswarm.observations (
        id, at, agent, kind, subject, whole, severity, importance, sensitivity, payload, evidence, content_hash
    )
    SELECT id, at, %(agent)s::text, kind, subject, whole, severity, importance, sensitivity, payload::jsonb,
           evidence::jsonb, content_hash
    FROM fresh
), findable AS (
    INSERT INTO dataswarm.documents (noun, ref, at, agent, kind, subject, whole, sensitivity, text, importance)
    SELECT 'observation', id, at, %(agent)s::text, kind, subject, whole, sensitivity, text, importance FROM fresh
), told AS (
    INSERT INTO dataswarm.events (at, topic, subject, noun, reference_id)
    SELECT at, 'observation.' || kind, subject, 'observation', id FROM fresh
    WHERE importance >= %(threshold)s::float8
    ORDER BY place
)
SELECT place::integer AS place, id FROM fresh ORDER BY place;

-- name: index_words
-- index: documents_lexemes (gin), in a function that runs as the owner
SELECT dataswarm.index_words();

-- name: decide
-- index: keys primary key; supersessions primary key
WITH moment AS (
    SELECT coalesce(%(now)s::timestamptz, statement_timestamp()) AS at
), taken AS (
    INSERT INTO dataswarm.keys (scope, key, holder, expires_at)
    SELECT %(scope)s::text, %(key)s::text, %(agent)s::text, at + interval '365 days'
    FROM moment WHERE %(key)s::text IS NOT NULL
    ON CONFLICT (scope, key) DO UPDATE SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at
    WHERE keys.expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING key
), fresh AS MATERIALIZED (
    SELECT nextval('dataswarm.decision_ids') AS id, at FROM moment
    WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM taken)
), decided AS (
    INSERT INTO dataswarm.decisions (
        id, at, agent, kind, subject, rationale, cause, confidence, payload, evidence, alternatives, transcript,
        incident_id, supersedes, sensitivity, content_hash
    )
    SELECT id, at, %(agent)s::text, %(kind)s::text, %(subject)s::text, %(rationale)s::text, %(cause)s::text,
           %(confidence)s::float8, %(payload)s::jsonb, %(evidence)s::jsonb, %(alternatives)s::jsonb,
           %(transcript)s::jsonb, %(incident_id)s::bigint, %(supersedes)s::bigint, %(sensitivity)s::smallint,
           %(content_hash)s::text
    FROM fresh
), replaced AS (
    INSERT INTO dataswarm.supersessions (older, newer)
    SELECT %(supersedes)s::bigint, id FROM fresh WHERE %(supersedes)s::bigint IS NOT NULL
    ON CONFLICT (older) DO NOTHING
), findable AS (
    INSERT INTO dataswarm.documents (noun, ref, at, agent, kind, subject, whole, sensitivity, text)
    SELECT 'decision', id, at, %(agent)s::text, %(kind)s::text, %(subject)s::text, %(whole)s::text,
           %(sensitivity)s::smallint, %(text)s::text
    FROM fresh
)
SELECT id FROM fresh;

-- name: observation
-- index: observations_id (id)
SELECT id, at, agent, kind, subject, severity, importance, sensitivity, payload, evidence, content_hash
FROM dataswarm.observations
WHERE id = %(id)s::bigint
  AND (%(reader)s::text IS NULL OR importance >= %(threshold)s::float8 OR agent = %(reader)s::text);

-- name: observations
-- index: observations_whole (whole, at, id) backwards, or the primary key backwards where no subject is given
SELECT id, at, agent, kind, subject, severity, importance, sensitivity, payload, evidence, content_hash
FROM dataswarm.observations
WHERE (%(wholes)s::text[] IS NULL OR whole = ANY (%(wholes)s::text[]))
  AND (%(subjects)s::text[] IS NULL OR whole = ANY (%(subjects)s::text[]) OR subject = ANY (%(subjects)s::text[]))
  AND (%(kinds)s::text IS NULL OR kind ~ %(kinds)s::text)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR at <= %(until)s::timestamptz)
  AND (%(reader)s::text IS NULL OR importance >= %(threshold)s::float8 OR agent = %(reader)s::text)
ORDER BY at DESC, id DESC
LIMIT %(limit)s::integer;

-- name: decision
-- index: decisions_id (id); supersessions primary key
SELECT d.id, d.at, d.agent, d.kind, d.subject, d.rationale, d.cause, d.confidence, d.payload, d.evidence,
       d.alternatives, d.transcript, d.incident_id, d.supersedes, d.sensitivity, s.newer AS superseded_by
FROM dataswarm.decisions d
LEFT JOIN dataswarm.supersessions s ON s.older = d.id
WHERE d.id = %(id)s::bigint;

-- name: decisions
-- index: decisions_incident (incident_id, at desc), decisions_subject (subject, at desc), or the primary key backwards
SELECT d.id, d.at, d.agent, d.kind, d.subject, d.rationale, d.cause, d.confidence, d.payload, d.evidence,
       d.alternatives, d.transcript, d.incident_id, d.supersedes, d.sensitivity, s.newer AS superseded_by
FROM dataswarm.decisions d
LEFT JOIN dataswarm.supersessions s ON s.older = d.id
WHERE (%(kind)s::text IS NULL OR d.kind = %(kind)s::text)
  AND (%(incident_id)s::bigint IS NULL OR d.incident_id = %(incident_id)s::bigint)
  AND (%(subject)s::text IS NULL OR d.subject = %(subject)s::text)
  AND (%(since)s::timestamptz IS NULL OR d.at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR d.at <= %(until)s::timestamptz)
  AND (NOT %(live_only)s::boolean OR s.newer IS NULL)
ORDER BY d.at DESC, d.id DESC
LIMIT %(limit)s::integer;
