select
    order_id,
    count(*) as shipment_count,
    min(shipped_on) as first_shipped_on,
    max(delivered_on) as last_delivered_on,
    max(days_in_transit) as days_in_transit,
    sum(weight_grams) as weight_grams
from {{ ref('stg_shipments') }}
group by order_id
