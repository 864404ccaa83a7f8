-- name: publish_event
-- index: none read; one row into the day's partition
INSERT INTO dataswarm.events (at, topic, subject, noun, reference_id, agent)
VALUES (coalesce(%(now)s::timestamptz, statement_timestamp()), %(topic)s::text, %(subject)s::text, %(noun)s::text,
        %(reference_id)s::bigint, %(agent)s::text);

-- name: bus_snapshot
-- index: none, it touches no table
SELECT dataswarm.bus_snapshot()::text AS snapshot;

-- name: read_events
-- index: events_order (xid, id), once for the transactions that were open and once for those that came after. One
-- lower bound alone each: given two, the index scan may begin at the lower one and read all that was ever published.
WITH target AS MATERIALIZED (
    SELECT coalesce(%(target)s::text::pg_snapshot, dataswarm.bus_snapshot()) AS snapshot
)
SELECT target.snapshot::text AS snapshot, event.*
FROM target
LEFT JOIN LATERAL (
    (SELECT id, xid::text AS xid, at, topic, subject, noun, reference_id, agent, xid AS ordered
     FROM dataswarm.events
     WHERE xid = ANY (%(open)s::text[]::xid8[])
       AND (xid > %(after_xid)s::text::xid8 OR id > %(after_id)s::bigint)
       AND pg_visible_in_snapshot(xid, target.snapshot)
       AND (%(patterns)s::text[] IS NULL OR topic ~ ANY (%(patterns)s::text[]))
       AND (%(agent)s::text IS NULL OR agent IN ('', %(agent)s::text))
     ORDER BY events.xid, id LIMIT %(limit)s::int)
    UNION ALL
    (SELECT id, xid::text AS xid, at, topic, subject, noun, reference_id, agent, xid AS ordered
     FROM dataswarm.events
     WHERE (xid, id) > (%(beyond_xid)s::text::xid8, %(beyond_id)s::bigint)
       AND xid < pg_snapshot_xmax(target.snapshot)
       AND pg_visible_in_snapshot(xid, target.snapshot)
       AND (%(patterns)s::text[] IS NULL OR topic ~ ANY (%(patterns)s::text[]))
       AND (%(agent)s::text IS NULL OR agent IN ('', %(agent)s::text))
     ORDER BY events.xid, id LIMIT %(limit)s::int)
    ORDER BY ordered, id LIMIT %(limit)s::int
) AS event ON true
ORDER BY event.ordered, event.id;

-- name: tail_events
-- index: events_time (at, id), newest first; rare topics make it read back as far as `since`, retention at most
SELECT id, xid::text AS xid, at, topic, subject, noun, reference_id, agent
FROM dataswarm.events
WHERE (%(patterns)s::text[] IS NULL OR topic ~ ANY (%(patterns)s::text[]))
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
  AND (%(agent)s::text IS NULL OR agent IN ('', %(agent)s::text))
ORDER BY at DESC, id DESC LIMIT %(limit)s::int;

-- name: events_between
-- index: events_time (at, id), within the partitions of the range
SELECT id, xid::text AS xid, at, topic, subject, noun, reference_id, agent
FROM dataswarm.events
WHERE at >= %(since)s::timestamptz AND at < %(until)s::timestamptz
  AND (at, id) > (%(after_at)s::timestamptz, %(after_id)s::bigint)
  AND (%(patterns)s::text[] IS NULL OR topic ~ ANY (%(patterns)s::text[]))
  AND (%(agent)s::text IS NULL OR agent IN ('', %(agent)s::text))
ORDER BY at, id LIMIT %(limit)s::int;

-- name: oldest_event
-- index: events_time (at, id), oldest first
SELECT at FROM dataswarm.events ORDER BY at, id LIMIT 1;

-- name: rebase_bus
-- index: agents_pkey; reads all events once where a cursor lies ahead of the server, else none
SELECT moved, unread FROM dataswarm.rebase_bus();
