-- Files whose sections are facts.

-- name: known_file
-- index: files primary key
SELECT root, hash, sensitivity FROM dataswarm.files WHERE source = %(source)s::text AND path = %(path)s::text;

-- name: known_files
-- index: files primary key
SELECT path, root FROM dataswarm.files WHERE source = %(source)s::text ORDER BY path;

-- name: note_file
-- index: files primary key
INSERT INTO dataswarm.files (source, path, root, hash, sensitivity, at)
VALUES (%(source)s::text, %(path)s::text, %(root)s::text, %(hash)s::text, %(sensitivity)s::smallint,
        coalesce(%(now)s::timestamptz, statement_timestamp()))
ON CONFLICT (source, path) DO UPDATE SET
    root = EXCLUDED.root, hash = EXCLUDED.hash, sensitivity = EXCLUDED.sensitivity, at = EXCLUDED.at;

-- name: forget_file
-- index: files primary key
DELETE FROM dataswarm.files WHERE source = %(source)s::text AND path = %(path)s::text;
