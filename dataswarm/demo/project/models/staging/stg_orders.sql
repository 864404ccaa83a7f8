select
    order_id,
    customer_id,
    ordered_at,
    status,
    channel,
    tax_cents,
    shipping_cents,
    discount_cents,
    _loaded_at
from {{ source('shop', 'orders') }}
