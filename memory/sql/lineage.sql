-- What is made from what.

-- name: lineage_told
-- index: lineage_told primary key
SELECT hash FROM dataswarm.lineage_told WHERE source = %(source)s::text;

-- name: tell_lineage
-- index: lineage_told primary key
INSERT INTO dataswarm.lineage_told AS t (source, hash, at)
VALUES (%(source)s::text, %(hash)s::text, coalesce(%(now)s::timestamptz, statement_timestamp()))
ON CONFLICT (source) DO UPDATE SET hash = EXCLUDED.hash, at = EXCLUDED.at;

-- name: replace_lineage
-- index: lineage primary key
WITH known AS MATERIALIZED (
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
    FROM known k
    WHERE NOT EXISTS (
        SELECT FROM dataswarm.lineage l
        WHERE l.source = %(source)s::text AND l.upstream = k.upstream AND l.downstream = k.downstream
          AND l.kind = k.kind
    )
    ORDER BY upstream, downstream
    ON CONFLICT (source, upstream, downstream) DO UPDATE SET kind = EXCLUDED.kind, at = EXCLUDED.at
        WHERE l.kind <> EXCLUDED.kind
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM fresh) AS changed;

-- name: hold_lineage
-- index: none, an advisory lock of this transaction: two replacements of one source go one after the other
SELECT pg_advisory_xact_lock(hashtextextended('dataswarm.lineage:' || %(source)s::text, 0));

-- name: lineage_reads
-- index: lineage_upstream (upstream), by the beginning of what is made from
SELECT EXISTS (
    SELECT FROM dataswarm.lineage
    WHERE starts_with(upstream, %(inside)s::text) AND source <> %(source)s::text
) AS is_read;

-- A walk starts at a whole or at a column. From a whole it goes by the edges of wholes; edges of columns are told beside
-- those. From a column it goes by the edges of that column, and by an edge of its whole only where no edge of columns
-- is known between the two. Where it meets the code that reads a column (`column:use`), or that makes one
-- (`column:made`), it ends: what that code does with the column, the other edges tell.

-- name: lineage_upstream
-- index: lineage_downstream (downstream); lineage_columns (the wholes of both ends)
WITH RECURSIVE found (asset, depth, ends) AS (
    SELECT %(asset)s::text, 0, false
    UNION
    SELECT next.asset, f.depth + 1, next.ends
    FROM found f
    CROSS JOIN LATERAL (
        SELECT l.upstream, l.kind IN ('column:use', 'column:made')
        FROM dataswarm.lineage l
        WHERE l.downstream = f.asset AND (strpos(f.asset, '#') > 0 OR l.kind NOT LIKE 'column:%%')
        UNION ALL
        SELECT l.upstream, false
        FROM dataswarm.lineage l
        WHERE strpos(f.asset, '#') > 0 AND l.downstream = split_part(f.asset, '#', 1)
          AND l.kind NOT LIKE 'column:%%'
          AND NOT EXISTS (
              SELECT FROM dataswarm.lineage c
              WHERE c.kind LIKE 'column%%' AND strpos(c.downstream, '#') > 0
                AND split_part(c.upstream, '#', 1) = split_part(l.upstream, '#', 1)
                AND split_part(c.downstream, '#', 1) = l.downstream
          )
    ) AS next (asset, ends)
    WHERE f.depth < %(depth)s::integer AND NOT f.ends
)
SELECT DISTINCT named.asset
FROM found f CROSS JOIN LATERAL (VALUES (f.asset), (split_part(f.asset, '#', 1))) AS named (asset)
WHERE named.asset <> %(asset)s::text AND named.asset <> %(whole)s::text ORDER BY named.asset;

-- name: lineage_downstream
-- index: lineage_upstream (upstream); lineage_columns (the wholes of both ends)
WITH RECURSIVE found (asset, depth, ends) AS (
    SELECT %(asset)s::text, 0, false
    UNION
    SELECT next.asset, f.depth + 1, next.ends
    FROM found f
    CROSS JOIN LATERAL (
        SELECT l.downstream, l.kind IN ('column:use', 'column:made')
        FROM dataswarm.lineage l
        WHERE l.upstream = f.asset AND (strpos(f.asset, '#') > 0 OR l.kind NOT LIKE 'column:%%')
        UNION ALL
        SELECT l.downstream, false
        FROM dataswarm.lineage l
        WHERE strpos(f.asset, '#') > 0 AND l.upstream = split_part(f.asset, '#', 1)
          AND l.kind NOT LIKE 'column:%%'
          AND NOT EXISTS (
              SELECT FROM dataswarm.lineage c
              WHERE c.kind LIKE 'column%%' AND strpos(c.upstream, '#') > 0
                AND split_part(c.upstream, '#', 1) = l.upstream
                AND split_part(c.downstream, '#', 1) = split_part(l.downstream, '#', 1)
          )
    ) AS next (asset, ends)
    WHERE f.depth < %(depth)s::integer AND NOT f.ends
)
SELECT DISTINCT named.asset
FROM found f CROSS JOIN LATERAL (VALUES (f.asset), (split_part(f.asset, '#', 1))) AS named (asset)
WHERE named.asset <> %(asset)s::text AND named.asset <> %(whole)s::text ORDER BY named.asset;
