select
    refunds.refund_id,
    refunds.order_id,
    refunds.reason,
    refunds.refunded_on,
    refunds.refund_cents,
    totals.total_cents,
    totals.total_cents - refunds.refund_cents as kept_cents
from {{ ref('stg_refunds') }} as refunds
inner join {{ ref('int_order_totals') }} as totals
    on totals.order_id = refunds.order_id
