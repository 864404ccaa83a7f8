with lines as (

    select
        order_id,
        count(*) as line_count,
        sum(quantity) as item_count,
        sum(line_cents) as goods_cents,
        sum(cost_cents) as cost_cents
    from {{ ref('int_order_lines') }}
    group by order_id

)

select
    orders.order_id,
    orders.customer_id,
    orders.ordered_at::date as ordered_on,
    orders.status,
    orders.channel,
    lines.line_count,
    lines.item_count,
    lines.goods_cents,
    lines.cost_cents,
    orders.discount_cents,
    orders.tax_cents,
    orders.shipping_cents,
    lines.goods_cents - orders.discount_cents + orders.tax_cents + orders.shipping_cents as total_cents,
    orders._loaded_at
from {{ ref('stg_orders') }} as orders
inner join lines
    on lines.order_id = orders.order_id
