-- Finding again. The function filters by clearance itself and chooses its plans by what the filters leave over.

-- name: recall
-- index: documents_lexemes (gin), the model's own hnsw; documents_whole, _agent, _kind, _at for the filters
SELECT id, noun, ref, at, agent, kind, subject, sensitivity, text, branch, score, words_rank, vector_rank,
       embedded, earlier, later, way, plan, planned_at
FROM dataswarm.recall(
    %(query)s::text, %(vector)s::public.halfvec, %(model)s::text, %(nouns)s::text[], %(kinds)s::text,
    %(kind_list)s::text[], %(kind_from)s::text, %(whole)s::text, %(subjects)s::text, %(whole_from)s::text,
    %(since)s::timestamptz, %(agents)s::text[], %(branch)s::text, %(reader)s::text, %(threshold)s::float8,
    %(limit)s::integer, %(deep)s::integer, %(chosen)s::integer, %(chosen_at)s::timestamptz
);

-- name: recall_nearest
-- index: the model's own hnsw; documents primary key
SELECT id, noun, ref, at, agent, kind, subject, sensitivity, text, distance
FROM dataswarm.recall_nearest(%(model)s::text, %(vector)s::public.halfvec, %(limit)s::integer);

-- name: neighbours
-- index: documents primary key; documents_whole
SELECT id, earlier, later FROM dataswarm.neighbours(%(ids)s::bigint[]);

-- name: unsearched
-- index: documents_unsearched (at desc), confidential documents alone
SELECT count(*) AS number FROM (
    SELECT FROM dataswarm.documents
    WHERE sensitivity = 2
      AND branch = ANY (coalesce(dataswarm.lines_of(%(branch)s::text), '{}'))
      AND (%(nouns)s::text[] IS NULL OR noun = ANY (%(nouns)s::text[]))
      AND (%(kinds)s::text IS NULL OR kind ~ %(kinds)s::text)
      AND (%(whole)s::text IS NULL OR whole = %(whole)s::text)
      AND (%(subjects)s::text IS NULL OR subject ~ %(subjects)s::text OR whole ~ %(subjects)s::text)
      AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
      AND (%(agents)s::text[] IS NULL OR agent = ANY (%(agents)s::text[]))
      AND (%(reader)s::text IS NULL OR importance >= %(threshold)s::float8 OR agent = %(reader)s::text)
    LIMIT %(most)s::integer
) hidden;

-- name: forget_documents
-- index: documents_at (at, id)
DELETE FROM dataswarm.documents
WHERE noun = ANY (%(nouns)s::text[]) AND at < %(before)s::timestamptz;

-- name: fold_lexemes
-- index: lexeme_counts primary key; lexeme_news is read whole
SELECT dataswarm.fold_lexemes(%(most)s::integer) AS folded;

-- name: line_of_memory
-- index: branches primary key
SELECT state FROM dataswarm.branches WHERE name = %(branch)s::text;
