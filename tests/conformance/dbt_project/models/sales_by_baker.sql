select b.baker, sum(s.amount) as amount
  from {{ ref('stg_sales') }} s
  join {{ ref('stg_bakers') }} b on b.id = s.baker_id
 group by b.baker
