select
    items.order_item_id,
    items.order_id,
    items.product_id,
    products.category,
    items.quantity,
    items.quantity * items.unit_price_cents as line_cents,
    items.quantity * products.unit_cost_cents as cost_cents
from {{ ref('stg_order_items') }} as items
inner join {{ ref('stg_products') }} as products
    on products.product_id = items.product_id
