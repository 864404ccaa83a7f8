-- name: take_key
-- index: keys_pkey (scope, key)
INSERT INTO dataswarm.keys (scope, key, holder, expires_at)
VALUES (%(scope)s::text, %(key)s::text, %(holder)s::text,
        coalesce(%(now)s::timestamptz, statement_timestamp()) + make_interval(secs => %(seconds)s::float8))
ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE keys.expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp());

-- name: free_key
-- index: keys_pkey (scope, key)
DELETE FROM dataswarm.keys WHERE scope = %(scope)s::text AND key = %(key)s::text AND holder = %(holder)s::text;

-- name: forget_expired_keys
-- index: keys_expiring (expires_at)
DELETE FROM dataswarm.keys
WHERE expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp());
