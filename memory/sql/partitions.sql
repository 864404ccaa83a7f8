-- name: partitioned_tables
-- index: partitioned_pkey
SELECT parent, retention_days,
       (coalesce(%(now)s::timestamptz, statement_timestamp()) AT TIME ZONE 'UTC')::date AS today
FROM dataswarm.partitioned ORDER BY parent;

-- name: make_partitions
-- index: none, DDL in a function that runs as the owner
SELECT dataswarm.make_partitions(%(parent)s::text, %(from_day)s::date, %(days)s::int) AS made;

-- name: drop_partitions
-- index: none, DDL in a function that runs as the owner
SELECT dataswarm.drop_partitions(%(parent)s::text, %(before)s::date) AS dropped;

-- name: partition_horizon
-- index: pg_inherits_parent_index
SELECT p.parent, count(*) FILTER (WHERE c.relname ~ '_[0-9]{8}$') AS partitions,
       (max(to_date(right(c.relname, 8), 'YYYYMMDD')) FILTER (WHERE c.relname ~ '_[0-9]{8}$')
        - (coalesce(%(now)s::timestamptz, statement_timestamp()) AT TIME ZONE 'UTC')::date) AS days_ahead
FROM dataswarm.partitioned p
JOIN pg_class parent ON parent.relname = p.parent AND parent.relnamespace = to_regnamespace('dataswarm')
JOIN pg_inherits i ON i.inhparent = parent.oid
JOIN pg_class c ON c.oid = i.inhrelid
GROUP BY p.parent ORDER BY p.parent;
