select
    refund_id,
    order_id,
    lower(reason) as reason,
    refund_cents,
    refunded_on
from {{ source('shop', 'refunds') }}
