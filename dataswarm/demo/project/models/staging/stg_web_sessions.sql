select
    session_id,
    customer_id,
    started_at,
    started_at::date as started_on,
    device,
    page_views,
    seconds_on_site
from {{ source('shop', 'web_sessions') }}
