select
    order_item_id,
    order_id,
    product_id,
    quantity,
    unit_price_cents
from {{ source('shop', 'order_items') }}
