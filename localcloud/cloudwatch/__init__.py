"""CloudWatch: metrics with percentiles and metric math, and alarms that are evaluated. moto speaks its protocols."""
