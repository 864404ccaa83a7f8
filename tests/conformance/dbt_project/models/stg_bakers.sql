select id, name as baker from {{ source('till', 'bakers') }}
