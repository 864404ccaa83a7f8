select
    customer_id,
    email,
    first_name,
    last_name,
    billing_region,
    delivery_region,
    loyalty_points,
    signed_up_on
from {{ source('shop', 'customers') }}
