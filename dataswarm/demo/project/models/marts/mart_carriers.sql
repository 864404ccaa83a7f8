select
    shipments.carrier,
    shipments.shipped_on,
    count(*) as shipments,
    sum(shipments.weight_grams) as weight_grams,
    round(avg(shipments.days_in_transit), 2) as average_days_in_transit
from {{ ref('stg_shipments') }} as shipments
inner join {{ ref('stg_orders') }} as orders
    on orders.order_id = shipments.order_id
group by shipments.carrier, shipments.shipped_on
