select
    totals.order_id,
    totals.customer_id,
    totals.ordered_on,
    totals.status,
    totals.channel,
    totals.item_count,
    totals.goods_cents,
    totals.discount_cents,
    totals.tax_cents,
    totals.shipping_cents,
    totals.total_cents,
    totals.goods_cents - totals.discount_cents - totals.cost_cents as margin_cents,
    coalesce(payments.paid_cents, 0) as paid_cents,
    coalesce(payments.fee_cents, 0) as fee_cents,
    fulfilment.first_shipped_on,
    fulfilment.last_delivered_on,
    fulfilment.days_in_transit,
    totals._loaded_at
from {{ ref('int_order_totals') }} as totals
left join {{ ref('int_order_payments') }} as payments
    on payments.order_id = totals.order_id
left join {{ ref('int_order_fulfilment') }} as fulfilment
    on fulfilment.order_id = totals.order_id
