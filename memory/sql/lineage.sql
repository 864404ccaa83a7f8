-- What is made from what.

-- name: replace_lineage
-- index: lineage primary key
WITH known AS (
    SELECT DISTINCT ON (upstream, downstream) upstream, downstream, kind
    FROM unnest(%(upstreams)s::text[], %(downstreams)s::text[], %(kinds)s::text[]) AS e (upstream, downstream, kind)
    ORDER BY upstream, downstream
), gone AS (
    DELETE FROM dataswarm.lineage l
    WHERE l.source = %(source)s::text
      AND NOT EXISTS (SELECT FROM known k WHERE k.upstream = l.upstream AND k.downstream = l.downstream)
    RETURNING 1
), fresh AS (
    INSERT INTO dataswarm.lineage AS l (source, upstream, downstream, kind, at)
    SELECT %(source)s::text, upstream, downstream, kind, coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM known ORDER BY upstream, downstream
    ON CONFLICT (source, upstream, downstream) DO UPDATE SET kind = EXCLUDED.kind, at = EXCLUDED.at
        WHERE l.kind <> EXCLUDED.kind
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM fresh) AS changed;

-- name: hold_lineage
-- index: none, an advisory lock of this transaction: two replacements of one source go one after the other
SELECT pg_advisory_xact_lock(hashtextextended('dataswarm.lineage:' || %(source)s::text, 0));

-- name: lineage_upstream
-- index: lineage_downstream (downstream)
WITH RECURSIVE found (asset, depth) AS (
    SELECT DISTINCT start, 0 FROM unnest(ARRAY[%(asset)s::text, %(whole)s::text]) AS start
    UNION
    SELECT next.asset, f.depth + 1
    FROM found f
    JOIN dataswarm.lineage l ON l.downstream = f.asset
    CROSS JOIN LATERAL (VALUES (l.upstream), (split_part(l.upstream, '#', 1))) AS next (asset)
    WHERE f.depth < %(depth)s::integer
)
SELECT DISTINCT asset FROM found WHERE asset <> %(asset)s::text AND asset <> %(whole)s::text ORDER BY asset;

-- name: lineage_downstream
-- index: lineage_upstream (upstream)
WITH RECURSIVE found (asset, depth) AS (
    SELECT DISTINCT start, 0 FROM unnest(ARRAY[%(asset)s::text, %(whole)s::text]) AS start
    UNION
    SELECT next.asset, f.depth + 1
    FROM found f
    JOIN dataswarm.lineage l ON l.upstream = f.asset
    CROSS JOIN LATERAL (VALUES (l.downstream), (split_part(l.downstream, '#', 1))) AS next (asset)
    WHERE f.depth < %(depth)s::integer
)
SELECT DISTINCT asset FROM found WHERE asset <> %(asset)s::text AND asset <> %(whole)s::text ORDER BY asset;
