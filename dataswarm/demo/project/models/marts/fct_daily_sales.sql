select
    ordered_on,
    channel,
    count(*) as orders,
    sum(item_count) as items,
    sum(total_cents) as total_cents,
    sum(margin_cents) as margin_cents,
    round(avg(total_cents), 2) as average_total_cents,
    current_timestamp as built_at
from {{ ref('fct_orders') }}
where status <> 'cancelled'
group by ordered_on, channel
