-- Wrapped data keys of what is confidential.

-- name: data_key
-- index: data_keys primary key
SELECT key_id, wrapped FROM dataswarm.data_keys WHERE id = %(id)s::uuid;

-- name: data_keys
-- index: data_keys primary key
SELECT id, key_id, wrapped FROM dataswarm.data_keys WHERE id = ANY (%(ids)s::uuid[]);

-- name: keep_data_keys
-- index: data_keys primary key
INSERT INTO dataswarm.data_keys (id, key_id, wrapped, noun, at)
SELECT id, key_id, wrapped, noun, coalesce(%(now)s::timestamptz, statement_timestamp())
FROM unnest(%(ids)s::uuid[], %(key_ids)s::text[], %(wrapped)s::bytea[], %(nouns)s::text[])
    AS n (id, key_id, wrapped, noun)
ON CONFLICT (id) DO NOTHING;

-- name: count_data_keys
-- index: data_keys_wrapping (key_id, id)
SELECT key_id, count(*)::int AS number FROM dataswarm.data_keys GROUP BY key_id ORDER BY key_id;

-- name: data_keys_to_rewrap
-- index: data_keys_wrapping (key_id, id), below the current key and above it
WITH below AS (
    SELECT id, key_id, wrapped FROM dataswarm.data_keys
    WHERE key_id < %(current)s::text ORDER BY key_id, id LIMIT %(limit)s::integer FOR UPDATE SKIP LOCKED
), above AS (
    SELECT id, key_id, wrapped FROM dataswarm.data_keys
    WHERE key_id > %(current)s::text ORDER BY key_id, id LIMIT %(limit)s::integer FOR UPDATE SKIP LOCKED
)
SELECT * FROM below UNION ALL SELECT * FROM above LIMIT %(limit)s::integer;

-- name: rewrap_data_keys
-- index: data_keys primary key
UPDATE dataswarm.data_keys d SET wrapped = n.wrapped, key_id = %(key_id)s::text
FROM unnest(%(ids)s::uuid[], %(wrapped)s::bytea[]) AS n (id, wrapped)
WHERE d.id = n.id;

-- name: forget_data_keys
-- index: data_keys_age (noun, at)
DELETE FROM dataswarm.data_keys WHERE noun = %(noun)s::text AND at < %(before)s::timestamptz;
