-- Files whose sections are facts.

-- name: known_file
-- index: files primary key
SELECT root, hash, sensitivity FROM dataswarm.files WHERE source = %(source)s::text AND path = %(path)s::text;

-- name: known_files
-- index: files primary key
SELECT path, root FROM dataswarm.files WHERE source = %(source)s::text ORDER BY path;

-- name: hold_file
-- index: none, an advisory lock of this transaction: who takes in the same file goes one after the other
SELECT pg_advisory_xact_lock(hashtextextended('dataswarm.file:' || %(source)s::text || ':' || %(path)s::text, 0));

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

-- name: file_sections
-- index: documents_whole (whole collate "C", at, id), knowledge (id): the subjects alone would be read one by one
SELECT k.* FROM dataswarm.documents d JOIN dataswarm.knowledge k ON k.id = d.ref
WHERE d.whole COLLATE "C" = %(whole)s::text AND d.noun = 'fact' AND d.branch = 'main' AND NOT k.retracted;
