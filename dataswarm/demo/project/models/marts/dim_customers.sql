with orders as (

    select
        customer_id,
        count(*) as order_count,
        sum(total_cents) as lifetime_cents,
        min(ordered_on) as first_ordered_on,
        max(ordered_on) as last_ordered_on
    from {{ ref('int_order_totals') }}
    where status <> 'cancelled'
    group by customer_id

)

select
    customers.customer_id,
    customers.email,
    customers.first_name || ' ' || customers.last_name as full_name,
    customers.billing_region,
    customers.delivery_region,
    customers.billing_region <> customers.delivery_region as is_delivered_elsewhere,
    customers.loyalty_points / 100 as loyalty_level,
    customers.signed_up_on,
    coalesce(orders.order_count, 0) as order_count,
    coalesce(orders.lifetime_cents, 0) as lifetime_cents,
    orders.first_ordered_on,
    orders.last_ordered_on
from {{ ref('stg_customers') }} as customers
left join orders
    on orders.customer_id = customers.customer_id
