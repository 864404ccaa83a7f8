with sold as (

    select
        product_id,
        sum(quantity) as items_sold,
        sum(line_cents) as revenue_cents
    from {{ ref('int_order_lines') }}
    group by product_id

)

select
    products.product_id,
    products.sku,
    products.product_name,
    products.category,
    products.list_price_cents,
    products.unit_margin_cents,
    coalesce(sold.items_sold, 0) as items_sold,
    coalesce(sold.revenue_cents, 0) as revenue_cents
from {{ ref('stg_products') }} as products
left join sold
    on sold.product_id = products.product_id
