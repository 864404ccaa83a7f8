-- Finding again. Words and vectors go through functions that filter by clearance themselves.

-- name: recall_words
-- index: documents_lexemes (gin)
SELECT document_id, score FROM dataswarm.recall_words(
    %(query)s::text, %(nouns)s::text[], %(kinds)s::text, %(whole)s::text, %(subjects)s::text, %(since)s::timestamptz,
    %(agents)s::text[], %(limit)s::integer
) ORDER BY score DESC, document_id DESC;

-- name: recall_nearest
-- index: embeddings primary key (model, document_id): every vector of the model is compared
SELECT document_id, score FROM dataswarm.recall_nearest(
    %(vector)s::public.halfvec, %(model)s::text, %(nouns)s::text[], %(kinds)s::text, %(whole)s::text,
    %(subjects)s::text, %(since)s::timestamptz, %(agents)s::text[], %(limit)s::integer
) ORDER BY score DESC, document_id;

-- name: recall_latest
-- index: documents_whole (whole, at desc), documents_at (at desc) where no subject is given
SELECT id AS document_id, 0::float8 AS score FROM dataswarm.documents
WHERE (%(nouns)s::text[] IS NULL OR noun = ANY (%(nouns)s::text[]))
  AND (%(kinds)s::text IS NULL OR kind ~ %(kinds)s::text)
  AND (%(whole)s::text IS NULL OR whole = %(whole)s::text)
  AND (%(subjects)s::text IS NULL OR subject ~ %(subjects)s::text OR whole ~ %(subjects)s::text)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
  AND (%(agents)s::text[] IS NULL OR agent = ANY (%(agents)s::text[]))
ORDER BY at DESC, id DESC LIMIT %(limit)s::integer;

-- name: unsearched
-- index: documents_whole (whole, at desc), documents_at (at desc) where no subject is given
SELECT count(*) AS number FROM dataswarm.documents
WHERE sensitivity = 2
  AND (%(nouns)s::text[] IS NULL OR noun = ANY (%(nouns)s::text[]))
  AND (%(kinds)s::text IS NULL OR kind ~ %(kinds)s::text)
  AND (%(whole)s::text IS NULL OR whole = %(whole)s::text)
  AND (%(subjects)s::text IS NULL OR subject ~ %(subjects)s::text OR whole ~ %(subjects)s::text)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
  AND (%(agents)s::text[] IS NULL OR agent = ANY (%(agents)s::text[]));

-- name: documents
-- index: documents primary key
SELECT d.id, d.noun, d.ref, d.at, d.agent, d.kind, d.subject, d.sensitivity, coalesce(d.text, '') AS text,
       EXISTS (
           SELECT FROM dataswarm.embeddings e WHERE e.model = %(model)s::text AND e.document_id = d.id
       ) AS embedded
FROM dataswarm.documents d WHERE d.id = ANY (%(ids)s::bigint[]);

-- name: forget_documents
-- index: documents_at (at desc)
DELETE FROM dataswarm.documents
WHERE noun = ANY (%(nouns)s::text[]) AND at < %(before)s::timestamptz;
