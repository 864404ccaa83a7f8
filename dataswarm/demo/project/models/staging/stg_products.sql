select
    product_id,
    sku,
    product_name,
    category,
    list_price_cents,
    unit_cost_cents,
    list_price_cents - unit_cost_cents as unit_margin_cents
from {{ source('shop', 'products') }}
