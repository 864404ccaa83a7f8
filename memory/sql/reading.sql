-- How a transaction that only looks begins: the one that was opened is left, and a read-only one entered alike. (Its
-- isolation cannot be chosen any more once the role was set by a SELECT.)

-- name: looking_as
-- index: none, it touches no table
SELECT current_user::text AS role, current_setting('statement_timeout') AS statement,
       current_setting('idle_in_transaction_session_timeout') AS idle;

-- name: leave_writing
-- session: ends the transaction that could have written
ROLLBACK

-- name: stand_still
-- session: nothing can be written any more, and everything is read as it is now, however long the looking takes
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: enter_still
-- session: the role and the limits of the transaction before, until the end of this one
SELECT set_config('role', %(role)s::text, true), set_config('statement_timeout', %(statement)s::text, true),
       set_config('idle_in_transaction_session_timeout', %(idle)s::text, true)
