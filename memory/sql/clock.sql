-- name: server_now
-- index: none, it touches no table; the clock of the server, or that of a test
SELECT coalesce(%(now)s::timestamptz, statement_timestamp()) AS now;
