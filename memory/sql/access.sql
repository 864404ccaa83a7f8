-- Who read or wrote what.

-- name: log_access
-- index: access_log primary key
INSERT INTO dataswarm.access_log (at, who, verb, noun, ref)
SELECT coalesce(%(now)s::timestamptz, statement_timestamp()), who, verb, noun, ref
FROM unnest(%(whos)s::text[], %(verbs)s::text[], %(nouns)s::text[], %(refs)s::text[]) AS n (who, verb, noun, ref);

-- name: accesses
-- index: access_log_ref (noun, ref, at desc), access_log_who (who, at desc)
SELECT at, who, verb, noun, ref FROM dataswarm.access_log
WHERE (%(who)s::text IS NULL OR who = %(who)s::text)
  AND (%(noun)s::text IS NULL OR noun = %(noun)s::text)
  AND (%(ref)s::text IS NULL OR ref = %(ref)s::text)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
ORDER BY at DESC, id DESC LIMIT %(limit)s::integer;
