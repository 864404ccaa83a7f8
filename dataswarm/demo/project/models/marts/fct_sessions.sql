{{ config(materialized='incremental', unique_key='session_id') }}

select
    sessions.session_id,
    sessions.customer_id,
    sessions.started_on,
    sessions.device,
    sessions.page_views,
    sessions.page_views * 60.0 / nullif(sessions.seconds_on_site, 0) as pages_per_minute,
    sessions.seconds_on_site / 60 as minutes_on_site
from {{ ref('stg_web_sessions') }} as sessions
{% if is_incremental() %}
-- Late rows are taken up for three days; the key makes it safe to see them again.
where sessions.started_on > (select max(started_on) - 3 from {{ this }})
{% endif %}
