select
    shipments.shipment_id,
    shipments.order_id,
    shipments.carrier,
    shipments.shipped_on,
    shipments.delivered_on,
    shipments.delivered_on - shipments.shipped_on as days_in_transit,
    shipments.weight_grams
from {{ source('shop', 'shipments') }} as shipments
