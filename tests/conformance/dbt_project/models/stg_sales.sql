select id, baker_id, amount, sold_at from {{ source('till', 'sales') }}
