-- name: count_up
-- index: counters_pkey (name, labels, slot)
INSERT INTO dataswarm.counters AS c (name, labels, slot, value)
VALUES (%(name)s::text, %(labels)s::jsonb, pg_backend_pid() %% 8, %(by)s::float8)
ON CONFLICT (name, labels, slot) DO UPDATE SET value = c.value + excluded.value;

-- name: counter_totals
-- index: counters_pkey (name, labels, slot), all of it: as many rows as there are series
SELECT name, labels, sum(value) AS value FROM dataswarm.counters GROUP BY name, labels ORDER BY name, labels;
