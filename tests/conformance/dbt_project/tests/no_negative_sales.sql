select * from {{ ref('sales_by_baker') }} where amount < 0
