-- What an agent knew of a source after its last look: a small head, and parts with the revisions they were valid for.

-- name: baseline
-- index: baselines primary key
SELECT agent, source, version, value FROM dataswarm.baselines
WHERE agent = %(agent)s::text AND source = %(source)s::text;

-- name: first_baseline
-- index: baselines primary key
INSERT INTO dataswarm.baselines (agent, source, version, value, at)
VALUES (
    %(agent)s::text, %(source)s::text, 1, %(value)s::jsonb, coalesce(%(now)s::timestamptz, statement_timestamp())
)
ON CONFLICT (agent, source) DO NOTHING
RETURNING agent, source, version, value;

-- name: swap_baseline
-- index: baselines primary key
UPDATE dataswarm.baselines SET
    version = version + 1, value = %(value)s::jsonb, at = coalesce(%(now)s::timestamptz, statement_timestamp())
WHERE agent = %(agent)s::text AND source = %(source)s::text AND version = %(expected)s::integer
RETURNING agent, source, version, value;

-- name: baseline_parts
-- index: baseline_parts_now (agent, source, part) of what is valid still
SELECT part, value::text, sensitivity FROM dataswarm.baseline_parts
WHERE agent = %(agent)s::text AND source = %(source)s::text AND until IS NULL
ORDER BY part, revision;

-- name: baseline_parts_named
-- index: baseline_parts_now (agent, source, part) of what is valid still
SELECT part, value::text, sensitivity FROM dataswarm.baseline_parts
WHERE agent = %(agent)s::text AND source = %(source)s::text AND until IS NULL AND part = ANY (%(names)s::text[])
ORDER BY part, revision;

-- name: baseline_parts_like
-- index: baseline_parts_now (agent, source, part) of what is valid still; `until` is the prefix's last text
SELECT part, value::text, sensitivity FROM dataswarm.baseline_parts
WHERE agent = %(agent)s::text AND source = %(source)s::text AND until IS NULL
  AND part >= %(prefix)s::text AND part < %(prefix)s::text || chr(1114111)
ORDER BY part, revision;

-- name: baseline_parts_then
-- index: baseline_parts primary key (agent, source, part, revision)
SELECT part, value::text, sensitivity FROM dataswarm.baseline_parts
WHERE agent = %(agent)s::text AND source = %(source)s::text AND has_past
  AND revision <= %(revision)s::integer AND (until IS NULL OR until > %(revision)s::integer)
ORDER BY part, revision;

-- name: baseline_part_hashes
-- index: baseline_parts_now (agent, source, part) of what is valid still
SELECT part, hash FROM dataswarm.baseline_parts
WHERE agent = %(agent)s::text AND source = %(source)s::text AND until IS NULL AND has_past AND hash IS NOT NULL
ORDER BY part;

-- name: end_baseline_parts
-- index: baseline_parts_now (agent, source, part) of what is valid still
UPDATE dataswarm.baseline_parts p SET until = %(revision)s::integer
FROM unnest(%(parts)s::text[], %(hashes)s::text[]) AS n (part, hash)
WHERE p.agent = %(agent)s::text AND p.source = %(source)s::text AND p.part = n.part AND p.until IS NULL AND p.has_past
  AND p.hash IS DISTINCT FROM n.hash
RETURNING n.hash IS NULL AS is_gone;

-- name: drop_baseline_parts
-- index: baseline_parts_now (agent, source, part) of what is valid still
DELETE FROM dataswarm.baseline_parts p
USING unnest(%(parts)s::text[], %(hashes)s::text[]) AS n (part, hash)
WHERE p.agent = %(agent)s::text AND p.source = %(source)s::text AND p.part = n.part AND p.until IS NULL
  AND NOT p.has_past AND (p.hash IS NULL OR p.hash IS DISTINCT FROM n.hash)
RETURNING CASE WHEN p.sensitivity = 2 THEN p.value ->> 'sealed' END AS sealed;

-- name: add_baseline_parts
-- index: baseline_parts_now (agent, source, part): what stands as it was is not written
INSERT INTO dataswarm.baseline_parts (agent, source, part, revision, has_past, sensitivity, hash, value)
SELECT %(agent)s::text, %(source)s::text, n.part, %(revision)s::integer, n.has_past, n.sensitivity, n.hash,
       n.value::jsonb
FROM unnest(
    %(parts)s::text[], %(values)s::text[], %(hashes)s::text[], %(sensitivities)s::smallint[], %(pasts)s::boolean[]
) AS n (part, value, hash, sensitivity, has_past)
WHERE n.value IS NOT NULL AND NOT EXISTS (
    SELECT FROM dataswarm.baseline_parts p
    WHERE p.agent = %(agent)s::text AND p.source = %(source)s::text AND p.part = n.part AND p.until IS NULL
      AND p.hash = n.hash
)
ORDER BY n.part;

-- name: add_baseline_revision
-- index: baseline_revisions primary key
INSERT INTO dataswarm.baseline_revisions (agent, source, revision, at, changed, note)
VALUES (
    %(agent)s::text, %(source)s::text, %(revision)s::integer,
    coalesce(%(now)s::timestamptz, statement_timestamp()), %(changed)s::integer, %(note)s::text
);

-- name: baseline_revision
-- index: baseline_revisions primary key
SELECT revision FROM dataswarm.baseline_revisions
WHERE agent = %(agent)s::text AND source = %(source)s::text AND revision = %(revision)s::integer;

-- name: baseline_revisions
-- index: baseline_revisions primary key; baseline_names_revision (agent, source, revision)
SELECT r.revision, r.at, r.changed, r.note, ARRAY(
    SELECT n.name FROM dataswarm.baseline_names n
    WHERE n.agent = r.agent AND n.source = r.source AND n.revision = r.revision ORDER BY n.name
) AS names
FROM dataswarm.baseline_revisions r
WHERE r.agent = %(agent)s::text AND r.source = %(source)s::text
ORDER BY r.revision DESC LIMIT %(limit)s::integer;

-- name: name_baseline
-- index: baseline_names primary key
INSERT INTO dataswarm.baseline_names (agent, source, name, revision, by, at)
VALUES (
    %(agent)s::text, %(source)s::text, %(name)s::text, %(revision)s::integer, %(by)s::text,
    coalesce(%(now)s::timestamptz, statement_timestamp())
)
ON CONFLICT (agent, source, name) DO NOTHING;

-- name: baseline_named
-- index: baseline_names primary key
SELECT revision FROM dataswarm.baseline_names
WHERE agent = %(agent)s::text AND source = %(source)s::text AND name = %(name)s::text;

-- name: forget_baseline_revisions
-- index: baseline_revisions_age (at); baseline_names_revision (agent, source, revision)
DELETE FROM dataswarm.baseline_revisions r
WHERE r.at < %(before)s::timestamptz
  AND NOT EXISTS (
      SELECT FROM dataswarm.baseline_names n
      WHERE n.agent = r.agent AND n.source = r.source AND n.revision = r.revision
  )
  AND EXISTS (
      SELECT FROM dataswarm.baseline_revisions later
      WHERE later.agent = r.agent AND later.source = r.source AND later.revision > r.revision
  );

-- name: forget_baseline_parts
-- index: baseline_parts_past (agent, source, until) of what is past; baseline_revisions primary key
DELETE FROM dataswarm.baseline_parts p
WHERE p.until IS NOT NULL AND NOT EXISTS (
    SELECT FROM dataswarm.baseline_revisions r
    WHERE r.agent = p.agent AND r.source = p.source AND r.revision >= p.revision AND r.revision < p.until
);

-- name: forget_sealed_parts
-- index: data_keys primary key
DELETE FROM dataswarm.data_keys WHERE id = ANY (%(ids)s::uuid[]);
