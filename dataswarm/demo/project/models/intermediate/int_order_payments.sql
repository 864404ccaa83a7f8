select
    payments.order_id,
    count(*) as payment_count,
    sum(payments.amount_cents) as paid_cents,
    min(payments.paid_at) as first_paid_at,
    round(sum(case when payments.method = 'card' then payments.amount_cents * 0.014 else 0 end), 2) as fee_cents
from {{ ref('stg_payments') }} as payments
group by payments.order_id
