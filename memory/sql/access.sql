-- Who read or wrote what.

-- name: log_access
-- index: access_log primary key
INSERT INTO dataswarm.access_log (at, who, verb, noun, ref, query)
SELECT coalesce(%(now)s::timestamptz, statement_timestamp()), who, verb, noun, ref, query
FROM unnest(%(whos)s::text[], %(verbs)s::text[], %(nouns)s::text[], %(refs)s::text[], %(queries)s::text[])
    AS n (who, verb, noun, ref, query);

-- name: accesses
-- index: access_log_ref (noun, ref, at desc), access_log_who (who, at desc)
SELECT at, who, verb, noun, ref, query FROM dataswarm.access_log
WHERE (%(who)s::text IS NULL OR who = %(who)s::text)
  AND (%(noun)s::text IS NULL OR noun = %(noun)s::text)
  AND (%(refs)s::text[] IS NULL OR ref = ANY (%(refs)s::text[]))
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
ORDER BY at DESC, id DESC LIMIT %(limit)s::integer;

-- name: writings
-- index: documents (noun, ref); documents_agent (agent, at), documents_at (at, id), read backwards; a row says itself
-- who wrote it, so writing costs no line in the log. Facts by their versions: the index holds the newest alone.
SELECT at, agent AS who, noun, ref::text AS ref FROM dataswarm.documents
WHERE noun <> 'fact'
  AND (%(who)s::text IS NULL OR agent = %(who)s::text)
  AND (%(noun)s::text IS NULL OR noun = %(noun)s::text)
  AND (%(id)s::bigint IS NULL OR ref = %(id)s::bigint)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
ORDER BY at DESC, id DESC LIMIT %(limit)s::integer;

-- name: versions_written
-- index: knowledge (id), knowledge_revisions primary key; knowledge_revisions (id) backwards where no fact is named
SELECT r.valid_from AS at, r.agent AS who, 'fact' AS noun, k.id::text AS ref FROM dataswarm.knowledge_revisions r
JOIN dataswarm.knowledge k ON (k.branch, k.subject, k.predicate) = (r.branch, r.subject, r.predicate)
WHERE (%(who)s::text IS NULL OR r.agent = %(who)s::text)
  AND (%(id)s::bigint IS NULL OR k.id = %(id)s::bigint)
  AND (%(since)s::timestamptz IS NULL OR r.valid_from >= %(since)s::timestamptz)
ORDER BY r.id DESC LIMIT %(limit)s::integer;
