with arrived as (

    select
        payment_id,
        order_id,
        method,
        amount_cents,
        paid_at
    from {{ source('shop', 'payments') }}

)

-- A payment is known to the shop once it has a time.
select
    arrived.payment_id,
    arrived.order_id,
    arrived.method,
    arrived.amount_cents,
    arrived.paid_at
from arrived
where arrived.paid_at is not null
